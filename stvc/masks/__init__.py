"""Masks: which pixels hide the ground, by which rule, and on which grid."""

from stvc.masks.grids import axis_spans, hidden_on_grid
from stvc.masks.rule import (
    KINDS,
    OCM_MEANINGS,
    SCL_MEANINGS,
    SCL_UNCLEAR,
    VARIABLES,
    MaskRule,
    hidden,
)

__all__ = [
    "KINDS",
    "OCM_MEANINGS",
    "SCL_MEANINGS",
    "SCL_UNCLEAR",
    "VARIABLES",
    "MaskRule",
    "axis_spans",
    "hidden",
    "hidden_on_grid",
]
