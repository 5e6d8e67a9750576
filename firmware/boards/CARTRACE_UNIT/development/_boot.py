"""First thing that runs on a development unit: nothing is imported from the file system. main.py follows."""

import sys

sys.path[:] = [".frozen"]
