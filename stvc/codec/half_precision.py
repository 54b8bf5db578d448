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
_ONE = 1 << 24
"""In the smallest distance of binary16 numbers, which everything is counted in here."""
_INFINITE, _INFINITE_VALUE = 0x7C00, 65536
"""Bits of what is larger than all binary16 numbers, and the value that it would have."""


@lru_cache(maxsize=1)
def masses() -> I64:
    """(rules, SPAN + 1): how much reflectance, in 2**-24, makes values below each one.

    A binary16 number stands for as much as it is away from the next one. Negative reflectance is
    only known where something is added to it. Integers alone, so that all machines agree.
    """
    bits = np.arange(_INFINITE, dtype=np.int64)
    exponent = np.maximum(bits >> 10, 1)
    unit = np.int64(1) << (exponent - 1)
    reflectance = unit * ((bits & 1023) + 1024 * (bits >= 1024))
    found = np.zeros((len(ADDENDS), SPAN + 1), np.int64)
    for rule, addend in enumerate(ADDENDS):
        for sign in (1, -1) if addend > 1 else (1,):
            product = _rounded(sign * reflectance * 10000)
            value = _rounded(product + int(addend * _ONE))
            some = (np.abs(product) < _INFINITE_VALUE * _ONE) & (value < _INFINITE_VALUE * _ONE)
            some &= (value >= 0) & ((sign > 0) | (bits > 0))  # 0 counts once
            np.add.at(found[rule, 1:], value[some] // _ONE, unit[some])
    found = np.cumsum(found, 1)
    found.setflags(write=False)
    return found


def _rounded(numbers: I64) -> I64:
    """The nearest binary16 numbers, ties to even, all in 2**-24."""
    size = np.abs(numbers)
    length = np.frexp(size.astype(np.float64))[1].astype(np.int64)  # exact below 2**53
    lost = np.maximum(length - 11, 0)
    kept, rest, half = size >> lost, size & ((1 << lost) - 1), (1 << lost) >> 1
    up = (rest > half) | ((rest == half) & (lost > 0) & (kept & 1 == 1))
    return np.asarray(np.sign(numbers) * ((kept + up) << lost), np.int64)
