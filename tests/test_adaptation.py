"""Corrected scales: the definition, its native twin, the printed one, and what they are worth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scenes
from hypothesis import given
from hypothesis import strategies as st
from native_kernels import needs_kernels
from test_format_pages import program
from test_rangecoder import MODELS

import stvc
from stvc import _header_rules
from stvc.codec import adaptation, columns, rangecoder_numpy, unit_encoder
from stvc.codec.adaptation import BANDS, Walk, lessons, logarithms, widened
from stvc.codec.columns import Columns, column_costs, corrected_scales, read_columns, write_columns
from stvc.codec.rangecoder import Reader, Writer
from stvc.codec.tables import DIRECT_SCALES, FRACTIONS
from stvc.codec.unit import NETWORK
from stvc.codec.widening import (
    MOST,
    choose_widening,
    read_widening,
    widening_bits,
    write_widening,
)
from stvc.errors import CorruptError
from stvc.model.weights import EntropyModel, load_model

GROUP = st.tuples(st.integers(0, 40), st.integers(1, 36), st.integers(0, 2**32 - 1), st.booleans())


def group(case: tuple[int, int, int, bool]) -> tuple[np.ndarray, Columns]:
    """Symbols (tokens, columns) and how they are coded; now and then far from what is expected."""
    tokens, n, seed, wild = case
    rng = np.random.default_rng(seed)
    shape = (tokens, n)
    location = rng.integers(-(1 << 17), 1 << 17, shape) if wild else rng.integers(-40, 40, shape)
    scale = rng.integers(0, 56, shape).astype(np.uint8)
    width = np.minimum(2.0 ** ((scale.astype(float) - 18) / 4) * rng.choice([0.2, 1, 6]), 1e5)
    symbols = np.rint(location / 8 + rng.normal(0, 1, shape) * width).astype(np.int32)
    widening = rng.integers(-9, 10, n).astype(np.int32)
    weights = rng.choice([0, 150, 440, 1023], n).astype(np.int32)
    return symbols, Columns(location.astype(np.int32), scale, widening, weights)


def slowly(call: Any, *arguments: Any) -> Any:
    """Run the definition instead of the kernel."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns, "kernels", None)
        return call(*arguments)


def test_logarithms_are_rounded_ones() -> None:
    every = np.arange(1, 65537)
    exact = 64 * np.log2(every.astype(np.longdouble))
    np.testing.assert_array_equal(logarithms(every), np.floor(exact + 0.5).astype(np.int64))


def test_printed_lessons_are_the_ones_in_use() -> None:
    models = load_model().models
    names, tables = program("entropy.md", "adaptation.py"), models.tables
    learned = lessons(models)
    for fraction in (0, 3, 7):
        first = fraction * DIRECT_SCALES
        rows = [tables.frequencies_of(first + k).tolist() for k in range(DIRECT_SCALES)]
        for scale in (0, 1, 13, 18, DIRECT_SCALES - 1):
            scores, information = names["lesson"](rows, scale)
            start, stop = tables.starts[first + scale : first + scale + 2]
            assert learned.scores[start:stop].tolist() == scores
            assert learned.information[first + scale] == information
    assert len(learned.information) == FRACTIONS * DIRECT_SCALES


@pytest.mark.parametrize(
    ("value", "scales"),
    [
        (0, [20, 20, 19, 19, 19, 18]),
        (2, [20, 20, 20, 20, 20, 20]),
        (9, [20, 21, 22, 23, 23, 24]),
    ],
)
def test_a_surprise_widens_and_silence_narrows(value: int, scales: list[int]) -> None:
    walk = Walk(1, np.zeros(6, np.int32), np.full(6, 227, np.int32), MODELS)
    found = []
    for _ in range(6):
        (scale,) = walk.scale(np.array([20]))
        walk.learn(np.array([value]), np.array([0]))
        found.append(int(scale))
    assert found == scales


@needs_kernels
@given(GROUP)
def test_kernels_correct_and_cost_as_defined(case: tuple[int, int, int, bool]) -> None:
    symbols, how = group(case)
    mine = corrected_scales(symbols, how, MODELS)
    np.testing.assert_array_equal(mine, slowly(corrected_scales, symbols, how, MODELS))
    tried = (-6, 0, 3)
    costs = column_costs(symbols, how, tried, MODELS)
    np.testing.assert_array_equal(costs, slowly(column_costs, symbols, how, tried, MODELS))


@needs_kernels
@given(GROUP)
def test_kernels_write_and_read_as_defined(case: tuple[int, int, int, bool]) -> None:
    symbols, how = group(case)
    scale = corrected_scales(symbols, how, MODELS)
    payloads = []
    for writer, call in ((Writer(), lambda f, *a: f(*a)), (rangecoder_numpy.Writer(), slowly)):
        call(write_columns, writer, symbols, how.location, scale, MODELS)
        payloads.append(writer.getvalue())
    assert payloads[0] == payloads[1]
    np.testing.assert_array_equal(read_columns(Reader(payloads[0]), how, MODELS), symbols)
    slow = slowly(read_columns, rangecoder_numpy.Reader(payloads[0]), how, MODELS)
    np.testing.assert_array_equal(slow, symbols)


@needs_kernels
@given(GROUP, st.binary(max_size=60))
def test_any_bytes_are_read_alike_or_refused(
    case: tuple[int, int, int, bool], payload: bytes
) -> None:
    _, how = group(case)
    found: list[Any] = []
    for reader, call in (
        (Reader(payload), lambda f, *a: f(*a)),
        (rangecoder_numpy.Reader(payload), slowly),
    ):
        try:
            found.append(call(read_columns, reader, how, MODELS).tolist())
        except CorruptError:
            found.append(None)
    assert found[0] == found[1]


@given(st.lists(st.lists(st.integers(-MOST, MOST), min_size=5, max_size=5), max_size=6))
def test_widenings_come_back(values: list[list[int]]) -> None:
    widening = np.array(values, np.int64).reshape(-1, len(BANDS))
    writer = Writer()
    write_widening(writer, widening)
    payload = writer.getvalue()
    np.testing.assert_array_equal(read_widening(Reader(payload), len(widening)), widening)
    assert 8 * len(payload) <= widening_bits(widening) + 40


def test_the_widening_that_was_missing_is_found() -> None:
    rng = np.random.default_rng(5)
    missing = np.array([[0, 2, -3, 0, 5], [-6, 0, 0, 1, 0]])
    groups = []
    for k, row in enumerate(missing):
        for (low, high), more in zip(BANDS, row, strict=True):
            shape = (600, high - low)
            scale = rng.integers(16, 26, shape).astype(np.uint8)
            width = 2.0 ** ((scale + more - 18.0) / 4) * 1.2
            symbols = np.rint(rng.logistic(0, width)).astype(np.int32)
            groups.append((k, low, symbols, np.zeros(shape, np.int32), scale))
    found = choose_widening(groups, 2, MODELS)
    plain = np.abs(found - missing)
    assert plain.max() <= 2
    assert (found[missing == 0] - np.median(found[missing == 0])).max() <= 1
    spread = widened(found, "default").widening
    for k, low, symbols, location, scale in groups:
        mine = Columns.plain(location, scale)
        wider = mine._replace(widening=spread[k, low : low + scale.shape[1]])
        without, with_it = (column_costs(symbols, how, (0,), MODELS).sum() for how in (mine, wider))
        assert with_it <= without + 64 * 12


@pytest.mark.parametrize("effort", ["default", "fast"])
def test_archives_get_smaller_and_say_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, effort: str
) -> None:
    ds = scenes.dataset(4, (64, 64), groups={"": ("B02", "B08")}, seed=3)
    monkeypatch.setattr(unit_encoder, "cheaper_coder", lambda *_: NETWORK)
    found = {}
    for generation in (3, 4):
        monkeypatch.setattr(EntropyModel, "generation", generation)
        path = tmp_path / f"{generation}.stvc"
        stvc.encode(ds, path, quality=45, effort=effort)
        with stvc.open(path) as archive:
            info = archive.info()
            assert info["format_version"] == generation
            found[generation] = info["bytes_by_kind"]["pixels"], archive.verify()
    assert found[4][0] < found[3][0]
    assert found[3][1].ok
    assert found[4][1].ok
    if effort == "fast":  # the other chooses its levels by what they cost
        assert found[3][1].sha256 == found[4][1].sha256


def test_older_generations_are_still_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _header_rules.FORMAT_VERSION == max(_header_rules.VERSIONS) >= adaptation.ADAPTED
    ds = scenes.dataset(3, (32, 32), seed=3)
    path = tmp_path / "a.stvc"
    with monkeypatch.context() as patch:
        patch.setattr(EntropyModel, "generation", 3)
        stvc.encode(ds.isel(time=slice(0, 2)), path, quality=45)
    stvc.append(ds.isel(time=slice(2, None)), path)
    with stvc.open(path) as archive:
        assert archive.info()["format_version"] == 3
        assert archive.verify().ok
