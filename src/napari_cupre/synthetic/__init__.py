"""Synthetic fields: images of cell-like instances with exact masks, drawn on the fly in many looks.

`SyntheticFields` is the source that pretraining reads; `draw_field` draws one field;
`register_look` and `register_shape` extend both. docs/synthetic.md explains and shows them.
"""

from .cell_shapes import SHAPES, register_shape
from .field import DIAMETERS, SyntheticField, SyntheticFields, draw_field
from .layout import Style
from .looks import LOOKS, Look, register_look

__all__ = [
    "DIAMETERS",
    "LOOKS",
    "SHAPES",
    "Look",
    "Style",
    "SyntheticField",
    "SyntheticFields",
    "draw_field",
    "register_look",
    "register_shape",
]
