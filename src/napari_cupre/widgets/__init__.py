"""The docks in napari."""
