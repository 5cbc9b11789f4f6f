"""What JPEG files cost: models x kinds x qualities, on images that are saved as JPEG and read again.

    python benchmarks/jpeg.py --models nuclei cells --kinds fluorescence --part dev
    python benchmarks/jpeg.py --models nuclei --exposure 0.3       # files that use a third of the eight bits

Images are saved as they are, darkened by `--exposure` before. Quality 0 stands for no JPEG at all. Prints
AP50 (mean over the images), cells found for each true one, and false cells of the worst image. The split is
that of `few_shot.py`.
"""

from __future__ import annotations

import io

import numpy as np
from few_shot import parts
from PIL import Image
from script import script_parser
from split import LABELLED, read_labelled


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--models", nargs="+", default=["nuclei"], help="names or files")
    parser.add_argument("--kinds", nargs="+", default=["fluorescence"])
    parser.add_argument("--qualities", nargs="+", type=int, default=[0, 90, 75, 50, 30])
    parser.add_argument("--exposure", type=float, default=1.0)
    parser.add_argument("--part", default="dev", choices=["test", "dev"])
    parser.add_argument("--tests", type=int, default=30)
    options = parser.parse_args()
    print("| model | kind | quality | AP50 | found / true | most false in an image |")
    print("|---|---|---|---|---|---|")
    for kind in options.kinds:
        images = [
            read_labelled(kind if kind in LABELLED else "bbbc038", stem)
            for stem in parts(kind, options.part, options.tests)[1]
        ]
        for quality in options.qualities:
            for model in options.models:
                print(row(model, kind, quality, options.exposure, images), flush=True)


def row(
    model: str, kind: str, quality: int, exposure: float, images: list[tuple[np.ndarray, np.ndarray]]
) -> str:
    """One line of the table."""
    from napari_cupre.data.image import normalise
    from napari_cupre.evaluation import evaluate
    from napari_cupre.model.zoo import open_model
    from napari_cupre.prediction.plane import predict_plane

    network = open_model(model, "cpu")
    truth = [labels for _, labels in images]
    found = [
        predict_plane(network, normalise(as_jpeg(image, quality, exposure))).labels for image, _ in images
    ]
    report = evaluate(truth, found)
    counts = [(len(np.unique(f)) - 1, len(np.unique(t)) - 1) for f, t in zip(found, truth)]
    most = max(f - t for f, t in counts)
    share = sum(f for f, _ in counts) / sum(t for _, t in counts)
    return f"| {model} | {kind} | {quality or '-'} | {report.ap50:.3f} | {share:.2f} | {most} |"


def as_jpeg(image: np.ndarray, quality: int, exposure: float) -> np.ndarray:
    """The image from a JPEG file; 8 bits, whatever it had."""
    if image.dtype != np.uint8:
        image = np.clip(image / max(1, image.max()) * 255, 0, 255)
    darker = np.rint(image[..., :3] * exposure if image.ndim == 3 else image * exposure).astype(np.uint8)
    if not quality:
        return darker
    file = io.BytesIO()
    Image.fromarray(darker).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


if __name__ == "__main__":
    main()
