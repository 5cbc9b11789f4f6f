"""Results in the formats of other programs, and annotations back from them.

Importing this package makes all formats known.
"""

# In the order in which they are offered.
from napari_cupre.export import label_tiff, imagej, coco, geojson, table  # isort: skip
from napari_cupre.export.formats import FORMATS, Format, choose_formats, register_format
from napari_cupre.export.writing import write

__all__ = [
    "FORMATS",
    "Format",
    "choose_formats",
    "coco",
    "geojson",
    "imagej",
    "label_tiff",
    "register_format",
    "table",
    "write",
]
