"""Reconciliation of batch records: pure code, no Django, no files, no clock.

Imports only wire, biip and the standard library; the shells in `cloud/` feed it and keep what it returns.
"""
