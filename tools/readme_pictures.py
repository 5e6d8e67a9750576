"""Makes README's pictures out of the screenshots of a test run: the first screenful, few colours, small files."""

import sys
from pathlib import Path

from PIL import Image

PICTURES = {"story-batches-desk.png": "batches.png", "story-batch-2-faults-desk.png": "batch-with-faults.png"}
SCREEN_PIXELS = 900  # height of what is shown
COLOURS = 48


def main() -> None:
    """Reads test-report/, writes docs/."""
    source, target = Path("test-report"), Path("docs")
    target.mkdir(exist_ok=True)
    for name, shown in PICTURES.items():
        if not (source / name).exists():
            sys.exit(f"{source / name} is missing: run `make test` first")
        picture = Image.open(source / name).convert("RGB")
        picture = picture.crop((0, 0, picture.width, min(picture.height, SCREEN_PIXELS)))
        picture.quantize(COLOURS).save(target / shown, optimize=True)


if __name__ == "__main__":
    main()
