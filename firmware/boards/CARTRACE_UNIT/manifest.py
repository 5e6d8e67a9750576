"""What is frozen into the image: bytecode without asserts and line numbers, in an order that no file system decides."""

# makemanifest.py runs this file and gives it freeze(). CARTRACE_FROZEN: the folder where tools/board_image.py laid out
# _boot.py, main_rp2.py and the agent.
# mypy: ignore-errors
# ruff: noqa: F821

import os

OPTIMISE = 3  # as the benches compile it (hil_tests/bench/image.py)
folder = os.environ["CARTRACE_FROZEN"]
found = []
for path, _folders, names in os.walk(folder):
    found += [os.path.relpath(os.path.join(path, name), folder) for name in names]

freeze("$(PORT_DIR)/modules", "rp2.py", opt=OPTIMISE)
freeze(folder, tuple(sorted(found)), opt=OPTIMISE)
