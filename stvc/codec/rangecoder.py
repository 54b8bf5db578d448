"""Symbols to range-coded words and back: in C where native kernels are, or else in numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stvc.codec.rangecoder_numpy import Ints, Models, address
from stvc.native import kernels

if TYPE_CHECKING or kernels is None:
    from stvc.codec.rangecoder_numpy import Reader, Writer
else:
    from stvc.codec.rangecoder_native import Reader, Writer

__all__ = ["Ints", "Models", "Reader", "Writer", "address"]
