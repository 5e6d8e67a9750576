"""Runs the unit on a development board until Ctrl-C on USB; without the watchdog, which could not be stopped again."""

import main_rp2

main_rp2.main(False)
