"""Write results in the formats of other programs.

Importing this package makes all formats known.
"""

# In the order in which they are offered.
from napari_cupre.io.writers import tiff_writer, imagej_writer, coco_writer, geojson_writer, csv_writer  # isort: skip
from napari_cupre.io.writers.formats import FORMATS, Format, choose_formats, register_format
from napari_cupre.io.writers.writing import write

__all__ = [
    "FORMATS",
    "Format",
    "choose_formats",
    "coco_writer",
    "csv_writer",
    "geojson_writer",
    "imagej_writer",
    "register_format",
    "tiff_writer",
    "write",
]
