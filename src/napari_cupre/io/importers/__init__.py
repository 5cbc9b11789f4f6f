"""Annotations of other programs as label images."""

from napari_cupre.io.importers.reading import (
    ImageShapes,
    import_annotations,
    import_to_folder,
    iterate_annotations,
)

__all__ = ["ImageShapes", "import_annotations", "import_to_folder", "iterate_annotations"]
