"""Half precision: what values it makes, counted from its definition."""

from __future__ import annotations

import hashlib
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stvc.codec.half_precision import ADDENDS, OFFSET, SPAN, masses

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

from product_traces import in_half_precision


def rounded(exact: Fraction) -> Fraction:
    """The nearest binary16 number by IEEE 754, ties to even."""
    size = abs(exact)
    exponent = -14
    while size >= Fraction(2) ** (exponent + 1):
        exponent += 1
    unit = Fraction(2) ** (exponent - 10)
    return round(exact / unit) * unit  # Python rounds halves to even, too


def value_of(reflectance: Fraction, addend: float) -> int:
    return int(rounded(rounded(reflectance * 10000) + Fraction(addend)) // 1)


def numbers(low: float, high: float) -> list[tuple[Fraction, Fraction]]:
    """Binary16 numbers from ``low`` on, below ``high``, and how far the next one is."""
    bits = np.arange(np.float16(low).view(np.uint16), np.float16(high).view(np.uint16))
    found = bits.astype(np.uint16).view(np.float16)
    return [(Fraction(float(r)), Fraction(float(np.spacing(r)))) for r in found]


def test_masses_of_negative_numbers() -> None:
    counted = {0: 0}
    for reflectance, unit in numbers(0.0, 0.06):
        value = value_of(-reflectance, ADDENDS[1])
        counted[value] = counted.get(value, 0) + int(unit * 2**24)
    mass = np.diff(masses()[1])
    inside = range(450, 1000)  # 1000 and 1001 get some from numbers above 0
    np.testing.assert_array_equal(mass[450:1000], [counted.get(value, 0) for value in inside])


@pytest.mark.parametrize("rule", range(len(ADDENDS)))
@pytest.mark.parametrize(("low", "high"), [(0.0, 0.002), (0.06, 0.064), (0.24, 0.27), (1.0, 1.1)])
def test_masses_are_those_of_the_numbers(rule: int, low: float, high: float) -> None:
    counted: dict[int, int] = {}
    for reflectance, unit in numbers(low, high):
        value = value_of(reflectance, ADDENDS[rule])
        counted[value] = counted.get(value, 0) + int(unit * 2**24)
    inside = sorted(counted)[1:-1]  # others get some from beyond
    mass = np.diff(masses()[rule])
    wanted = [counted.get(value, 0) for value in range(inside[0], inside[-1] + 1)]
    np.testing.assert_array_equal(mass[inside[0] : inside[-1] + 1], wanted)
    assert len(inside) > 5


def test_values_lie_in_steps_and_some_never_come() -> None:
    value = np.arange(SPAN)
    for offset, made in zip((0, OFFSET), np.diff(masses()), strict=True):
        assert not made[(value >= 1024 + offset) & (value % 2 == 1)].any()
        assert not made[(value >= 4096) & (value % 4 != 0)].any()
        assert not made[(value >= 8192) & (value % 8 != 0)].any()
        assert made[2100:2200:2].all()
        assert 0.1 < (made[3600:4090:2] == 0).mean() < 0.2
        assert (made >= 0).all()


@given(st.integers(1, 60000), st.sampled_from([0, 1000]))
def test_what_tests_make_is_made_so(value: int, offset: int) -> None:
    made = int(in_half_precision(np.array([64 * value + 21]), offset)[0])
    nearest = rounded(Fraction(64 * value + 21, 640000))
    assert made == value_of(nearest, offset + 0.5)
    assert np.diff(masses()[int(offset > 0)])[made] > 0


def test_negative_reflectance_is_known_with_an_offset_only() -> None:
    below = masses()[:, 1000]
    assert below[1] > 0
    assert np.diff(masses()[1])[100:1000].all()
    assert np.diff(masses()[0])[:1000].all()


def test_masses_never_change() -> None:
    """Archives hang on them, on every machine."""
    digest = hashlib.sha256(np.ascontiguousarray(masses(), "<i8").tobytes()).hexdigest()
    assert digest == "055670845baf6070f7450b29d61af3dbd8a07f8326a358f21641c89dbad8aeaa"
