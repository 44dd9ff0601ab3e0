"""Makes the README's picture of a tear sheet: see docs/images/README.md."""

import io
import sys
from pathlib import Path

from headless_chromium import browser, executable, opened
from PIL import Image

WIDTH, HEIGHT, COLOURS = 1440, 1640, 224


def main(sheet: Path, picture: Path) -> None:
    chromium = executable()
    if chromium is None:
        sys.exit("No Chromium on this machine. Mend: apt-get install -y chromium")
    with browser(chromium) as running, opened(running, sheet.resolve(), WIDTH) as page:
        clip = {"x": 0, "y": 0, "width": WIDTH, "height": HEIGHT}
        shot = page.screenshot(full_page=True, clip=clip)
    image = Image.open(io.BytesIO(shot)).convert("RGB").quantize(COLOURS)
    image.save(picture, optimize=True)
    print(f"{picture}: {picture.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
