"""Make the photographs behind the README's picture.

    pip install scikit-image
    python docs/pictures/make.py wall/
    zeroline score wall/ --model <bundle> --rscin off --output results

48 views of a brick wall (one CC0 photograph), the camera moved, turned and exposed a little
differently each time; every eighth one has a defect: a hole of gravel, a scratch, or a stain.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from skimage import data

PICTURES, SIDE, EVERY = 48, 320, 8


def defect(view: Image.Image, kind: int, rng: np.random.Generator) -> Image.Image:
    """Return the view with a hole (0), a scratch (1) or a stain (2)."""
    x, y = rng.integers(70, SIDE - 110, 2).tolist()
    mask = Image.new("L", view.size)
    pencil = ImageDraw.Draw(mask)
    if kind == 1:
        points = [(x + 11 * n, y + int(rng.integers(-4, 5)) + 4 * n) for n in range(7)]
        pencil.line(points, fill=230, width=3)
        filling = Image.new("L", view.size, 215)
    else:
        corners = (x, y, x + 34 + 12 * kind, y + 26 + 8 * kind)
        pencil.ellipse(corners, fill=255 if kind == 0 else 150)
        gravel = Image.fromarray(data.gravel()).crop((100, 100, 100 + SIDE, 100 + SIDE))
        filling = gravel.point(lambda v: v * 0.6) if kind == 0 else Image.new("L", view.size, 25)
    mask = mask.filter(ImageFilter.GaussianBlur(1.2 + 2 * (kind == 2)))
    return Image.composite(filling, view, mask)


def main(folder: Path) -> None:
    """Write the pictures to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    wall = Image.fromarray(data.brick())
    for number in range(PICTURES):
        turned = wall.rotate(rng.uniform(-1.5, 1.5), Image.Resampling.BICUBIC)
        left, top = (96 + rng.integers(-20, 21, 2)).tolist()
        view = turned.crop((left, top, left + SIDE, top + SIDE))
        if number % EVERY == 3:
            view = defect(view, number // EVERY % 3, rng)
        light = rng.uniform(0.9, 1.1)
        noise = rng.normal(0, 3, (SIDE, SIDE))
        pixels = np.clip(np.asarray(view) * light + noise, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02d}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
