"""Makes README's pictures out of the screenshots of a test run: the first screenful, few colours, small files."""

import sys
from pathlib import Path

from PIL import Image

SCREEN_PIXELS = 900
PICTURES = {  # screenshot: name in docs/, height of what is shown
    "story-batches-desk.png": ("batches.png", SCREEN_PIXELS),
    "story-batch-2-faults-desk.png": ("batch-with-faults.png", SCREEN_PIXELS),
    "panel-screens.png": ("panel.png", 1264),  # four rows of screens
}
WIDTH_PIXELS_MAX = 1280
COLOURS = 48


def main() -> None:
    """Reads test-report/, writes docs/."""
    source, target = Path("test-report"), Path("docs")
    target.mkdir(exist_ok=True)
    for name, (shown, height) in PICTURES.items():
        if not (source / name).exists():
            sys.exit(f"{source / name} is missing: run `make test` first")
        picture = Image.open(source / name).convert("RGB")
        picture = picture.crop((0, 0, picture.width, min(picture.height, height)))
        picture.thumbnail((WIDTH_PIXELS_MAX, picture.height))
        picture.quantize(COLOURS, Image.Quantize.MAXCOVERAGE).save(target / shown, optimize=True)


if __name__ == "__main__":
    main()
