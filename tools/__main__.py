"""`python -m tools` is the same as `cartrace`."""

from tools.cli import main

main()
