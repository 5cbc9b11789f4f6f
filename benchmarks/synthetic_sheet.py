"""The picture sheet of synthetic fields in the documentation: one row per look, each at several cell sizes.

python benchmarks/synthetic_sheet.py [--out docs/images/synthetic.png] [--look LOOK] [--labels]
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from script import script_parser
from skimage.segmentation import find_boundaries

from napari_cupre.synthetic import LOOKS, SyntheticField, draw_field

DIAMETERS = (12, 16, 22, 30, 42)
GAP = 2
OUTLINE = (255, 230, 0)


def picture(field: SyntheticField, outlined: bool) -> np.ndarray:
    """The field as uint8 RGB, its cells outlined if wanted."""
    image = (np.clip(field.image, 0, 1) * 255).astype(np.uint8)
    if outlined:
        image[find_boundaries(field.labels, mode="inner")] = OUTLINE
    return np.pad(image, ((GAP, 0), (GAP, 0), (0, 0)), constant_values=255)


def sheet(looks: list[str], size: int, seed: int, outlined: bool) -> np.ndarray:
    """Rows of fields; the last of each row shows its labels."""
    rows = []
    for number, look in enumerate(looks):
        row = []
        for column, diameter in enumerate(DIAMETERS):
            rng = np.random.default_rng([seed, number, column])
            is_last = column == len(DIAMETERS) - 1
            row.append(picture(draw_field(rng, size, look, diameter), outlined or is_last))
        rows.append(np.concatenate(row, axis=1))
    return np.concatenate(rows)


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/images/synthetic.png"))
    parser.add_argument("--look", choices=list(LOOKS), help="only this look, in ten rows")
    parser.add_argument("--size", type=int, default=128, help="side of a field in px")
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--labels", action="store_true", help="outline the cells of all fields")
    options = parser.parse_args()
    looks = [options.look] * 10 if options.look else list(LOOKS)
    picture_sheet = sheet(looks, options.size, options.seed, options.labels)
    # One palette of 256 colours takes a third of the bytes; dithering keeps the shades.
    image = Image.fromarray(picture_sheet)
    image = image.quantize(palette=image.quantize(256), dither=Image.Dither.FLOYDSTEINBERG)
    image.save(options.out, optimize=True)
    print(f"{options.out}: {options.out.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
