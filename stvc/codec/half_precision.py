"""Values as arithmetic in half precision leaves them.

Values of 10 m bands of level-2A products (since the second half of 2018) are what IEEE 754 binary16
numbers make of reflectances: the nearest DN, found by adding a half and cutting off, after each of
two operations was rounded to eleven bits. So they are even from 1024 DN on (2024 while the offset
is in them) and multiples of 4 from 4096 on, some such values never come, and of the others some
stand for more numbers than their neighbors. Measured on products of many places: no value that
these rules do not know.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]

OFFSET = 1000
"""DN that products have too much from processing baseline 04.00 on."""
ADDENDS = (0.5, OFFSET + 0.5)
"""Of each rule: what was added to reflectance times 10000."""
SPAN = 65536 + OFFSET
"""Values that rules tell of."""
_UNIT_BITS = 24
"""Masses count the smallest distance of binary16 numbers."""


@lru_cache(maxsize=1)
def masses() -> I64:
    """(rules, SPAN + 1): how much reflectance, in 2**-24, makes values below each one.

    A binary16 number stands for as much as it is away from the next one. Negative reflectance is
    only known where something is added to it.
    """
    bits = np.arange(0x7C00, dtype=np.uint16)
    positive = bits.view(np.float16)
    found = np.zeros((len(ADDENDS), SPAN + 1), np.int64)
    for rule, addend in enumerate(ADDENDS):
        signs = (1, -1) if addend > 1 else (1,)
        for sign in signs:
            reflectance = positive * np.float16(sign)
            with np.errstate(over="ignore"):
                value = reflectance * np.float16(10000) + np.float16(addend)
            some = np.isfinite(value) & (value >= 0) & ((sign > 0) | (bits > 0))  # 0 once
            mass = np.ldexp(np.spacing(positive[some]).astype(np.float64), _UNIT_BITS)
            at = value[some].astype(np.int64)
            counted = np.bincount(at, mass, SPAN)[:SPAN]
            found[rule, 1:] += np.cumsum(counted.astype(np.int64))
    found.setflags(write=False)
    return found
