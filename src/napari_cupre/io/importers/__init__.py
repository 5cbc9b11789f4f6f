"""Annotations of other programs as label images."""

from napari_cupre.io.importers.annotation_files import (
    import_annotations,
    import_to_folder,
    read_for_image,
    read_for_images,
    sheets_of,
)
from napari_cupre.io.importers.frames import Frame, ImageShapes

__all__ = [
    "Frame",
    "ImageShapes",
    "import_annotations",
    "import_to_folder",
    "read_for_image",
    "read_for_images",
    "sheets_of",
]
