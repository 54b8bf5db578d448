"""Pixels as products hold them: in half precision or in steps, and through a lossy JPEG 2000.

For tests and golden archives: what `stvc.codec.trace_choice` looks for, made from integers.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]


def in_steps(values: I64, shift: int = 0) -> I64:
    """Even from 1024 on, multiples of 4 from 4096 on, of 8 from 16384 on; then less ``shift``."""
    whole = values + shift
    for knee, step in ((1024, 2), (4096, 4), (16384, 8)):
        whole = np.where(whole >= knee, whole // step * step, whole)
    return np.maximum(whole - shift, 0)


def in_half_precision(values: I64, offset: int = 0) -> I64:
    """Values, given in 1/64 DN, after arithmetic in binary16 on their reflectances.

    With ``offset``, 0 or 1000, that is added on the way, as in products from baseline 04.00 on.
    """
    reflectance = _rounded(values * (1 << 18), 10000)
    product = _rounded(reflectance * 10000, 1)
    doubled = 2 * product + ((2 * offset + 1) << 24)
    return np.maximum(_rounded(doubled, 2) >> 24, 0)


def _rounded(numerators: I64, divisor: int) -> I64:
    """Quotients, in 2**-24, as binary16: 11 significant bits, ties to even; from 2**-14 on."""
    whole = np.abs(numerators) // divisor
    length = np.frexp(whole.astype(np.float64))[1].astype(np.int64)
    step = divisor << np.maximum(length - 11, 0)
    floor, rest = np.divmod(np.abs(numerators), step)
    up = (2 * rest > step) | ((2 * rest == step) & (floor % 2 == 1))
    return np.asarray(np.sign(numerators) * (floor + up) * (step // divisor), np.int64)


def _mirrored(values: I64, index: int) -> I64:
    last = len(values) - 1
    return values[-index if index < 0 else 2 * last - index if index > last else index]


def forward(values: I64, first: int) -> I64:
    """Transform rows in place, ISO/IEC 15444-1 F.4.8.1; ``first`` is the first even one."""
    out = values.copy()
    for k in range(1 - first, len(out), 2):
        out[k] -= (_mirrored(out, k - 1) + _mirrored(out, k + 1)) >> 1
    for k in range(first, len(out), 2):
        out[k] += (_mirrored(out, k - 1) + _mirrored(out, k + 1) + 2) >> 2
    return out


def inverse(values: I64, first: int) -> I64:
    """Invert `forward`."""
    out = values.copy()
    for k in range(first, len(out), 2):
        out[k] -= (_mirrored(out, k - 1) + _mirrored(out, k + 1) + 2) >> 2
    for k in range(1 - first, len(out), 2):
        out[k] += (_mirrored(out, k - 1) + _mirrored(out, k + 1)) >> 1
    return out


def transformed(values: I64, phase: int = 0) -> I64:
    """One level of the transform, coefficients in the places of their pixels."""
    return forward(forward(values, phase >> 1).T, phase & 1).T


def through_two_levels(values: I64, phase: int, second: int) -> I64:
    """Lose the lowest bit of HH of two levels."""
    made = transformed(values, phase)
    even, left = phase >> 1, phase & 1
    made[even::2, left::2] = through_jpeg2000(made[even::2, left::2], (1, 0, 0), second)
    coarse = inverse(inverse(made.T, left).T, even)
    return through_jpeg2000(coarse, (1, 0, 0), phase)


def through_jpeg2000(values: I64, dropped: tuple[int, int, int] = (1, 0, 0), phase: int = 0) -> I64:
    """Lose so many of the lowest bits of HH, LH and HL, and come back in the middle."""
    made = transformed(values, phase)
    even, left = phase >> 1, phase & 1
    for bits, (y, x) in zip(dropped, ((1, 1), (1, 0), (0, 1)), strict=True):
        rows, columns = slice((even + y) % 2, None, 2), slice((left + x) % 2, None, 2)
        part = made[rows, columns]
        kept = np.abs(part) >> bits
        middle = (kept << bits) + (1 << bits >> 1)
        made[rows, columns] = np.where(kept > 0, np.sign(part) * middle, 0)
    return inverse(inverse(made.T, left).T, even)
