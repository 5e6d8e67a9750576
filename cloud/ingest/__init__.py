"""Ingest: uplink messages into the ledger or quarantine, then receipts, wants, orders and reports.

claims.py and wants.py are pure, commit.py owns the transaction, worker.py the order of things, mqtt.py the broker.
"""
