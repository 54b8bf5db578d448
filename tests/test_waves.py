"""Frames that are coded together: the waves they come in, and that nothing shows of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scenes
from hypothesis import given
from hypothesis import strategies as st

import stvc
from stvc import api
from stvc.codec import analysis, entropy, frame_encoder, unit_encoder, wave_decoder
from stvc.codec.aim import Aim, _Trials
from stvc.codec.decoder import decode_frames
from stvc.codec.frame_stats import links_of
from stvc.codec.rangecoder import Reader
from stvc.codec.structure import plan_frames
from stvc.codec.unit import NETWORK
from stvc.codec.unit_encoder import encode_unit
from stvc.codec.waves import spans
from stvc.errors import CorruptError
from stvc.types import GroupGrid

TEN = {"": ("B02", "B04", "B08")}


def grid(side: int) -> GroupGrid:
    axis = np.arange(side, dtype=np.float64)
    return GroupGrid("10m", ("B04", "B08"), axis, axis)


@given(st.integers(1, 90), st.sampled_from([8, 64, 400, 2000]), st.randoms())
def test_a_waves_frames_link_to_earlier_waves_only(frames: int, side: int, random: Any) -> None:
    shares = [random.random() for _ in range(frames)]
    plan = plan_frames([], [], [86400 * k for k in range(frames)], shares)
    links = [planned.link for planned in plan]
    walk = sorted(random.sample(range(frames), random.randint(1, frames)))
    done: set[int] = set(range(frames)) - set(walk)
    for span in spans(walk, links, [grid(side)]):
        assert sorted(k for wave in span.waves for k in wave) == list(span.frames)
        assert side < 2000 or len(span.frames) == 1
        for wave in span.waves:
            assert all(k < 0 or k in done for frame in wave for k in links[frame])
            done |= set(wave)
    assert done == set(range(frames))


@pytest.fixture(scope="module", params=["default", "fast"])
def archive(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("waves") / "place.stvc"
    ds = scenes.dataset(9, (40, 48), groups=TEN, mask="SCL", cloudy=(1, 4), seed=41)
    with pytest.MonkeyPatch.context() as patch:
        # Synthetic ground would be the plain coder's.
        patch.setattr(unit_encoder, "cheaper_coder", lambda *_: NETWORK)
        stvc.encode(ds, path, quality=35, effort=request.param)
    return path


def decoded(path: Path, together: bool, **options: Any) -> list[Any]:
    with stvc.open(path) as opened:
        place = opened._open_place()
        frames = list(range(len(opened._reader.frames)))
        return list(
            decode_frames(
                opened._reader,
                place.place,
                place.backgrounds,
                place.model,
                frames,
                [0],
                together=together,
                **options,
            )
        )


def test_together_and_one_by_one_are_the_same(archive: Path) -> None:
    both = [decoded(archive, together) for together in (True, False)]
    assert [frame.index for frame in both[0]] == list(range(9))
    for one, other in zip(*both, strict=True):
        np.testing.assert_array_equal(one.pixels[0], other.pixels[0])
        np.testing.assert_array_equal(one.classes, other.classes)


def test_units_of_a_batch_are_asked_together(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []

    def watched(model: Any, requests: Sequence[Any]) -> Any:
        sizes.append(len(requests))
        return entropy.decode_networks(model, requests)

    monkeypatch.setattr(wave_decoder, "decode_networks", watched)
    monkeypatch.setenv("STVC_THREADS", "1")
    decoded(archive, True)
    assert max(sizes) > 1


class Broken(Reader):
    """Reads three batches, and no more."""

    def __init__(self) -> None:
        self._left = 3

    def symbols(self, *arguments: Any) -> Any:
        self._left -= 1
        if self._left < 0:
            raise CorruptError("no more symbols")
        return np.ones(len(arguments[1]), np.int64)

    def columns(self, *arguments: Any) -> None:
        self.symbols(*arguments)


def test_a_damaged_unit_leaves_its_batch_whole(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, victim, asked = wave_decoder.request_of, -1, set()

    def request(unit: Any, model: Any) -> Any:
        asked.add(unit.context.day)
        made = real(unit, model)
        return made._replace(reader=Broken()) if unit.context.day == victim else made

    monkeypatch.setattr(wave_decoder, "request_of", request)
    whole = {frame.index: frame for frame in decoded(archive, True)}
    with stvc.open(archive) as opened:
        links = links_of(opened._reader.frames, opened._open_place().place)
        days = [frame.time // 86400 for frame in opened._reader.frames]
    linked = {k for link in links for k in link}
    leaf = max(k for k in whole if k not in linked and days[k] in asked)
    victim = days[leaf]
    told: list[str] = []
    found = decoded(archive, True, on_damage=told.append)
    assert len(told) == 1
    assert "no more symbols" in told[0]
    for frame in found:
        same = np.array_equal(frame.pixels[0], whole[frame.index].pixels[0])
        assert same == (frame.index != leaf)
    assert not found[leaf].pixels[0].any()


def test_what_the_aim_chose_is_what_the_encoder_would_choose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One trial hits: then the archive is the one that a quality of the same step makes."""
    ds = scenes.dataset(5, (40, 48), groups=TEN, mask="mask", cloudy=(1,), seed=42)
    settled = []
    real = encode_unit

    def noted(*arguments: Any, **options: Any) -> Any:
        settled.append(options["chosen"] is not None)
        return real(*arguments, **options)

    monkeypatch.setattr("stvc.codec.tile_job.encode_unit", noted)
    monkeypatch.setattr("stvc.archiving.find_step", only_trial(200))
    stvc.encode(ds, tmp_path / "aimed.stvc", psnr=45, effort="fast")
    assert settled == [True] * 5
    real_settings = api.quality_settings

    def same_step(*arguments: Any) -> Any:
        return replace(real_settings(*arguments), step_index=200)

    monkeypatch.setattr(api, "quality_settings", same_step)
    stvc.encode(ds, tmp_path / "given.stvc", quality=40, effort="fast")
    assert settled[5:] == [False] * 5
    with stvc.open(tmp_path / "aimed.stvc") as one, stvc.open(tmp_path / "given.stvc") as other:
        for key in one._reader.units:
            assert one._reader.read(key) == other._reader.read(key)
    stvc.encode(ds, tmp_path / "default.stvc", psnr=45)
    assert settled[10:] == [True] * 5


@pytest.mark.parametrize(("psnr", "noise"), [(47, False), (80, True)])
def test_units_that_the_aim_analyzed_are_what_the_encoder_would_analyze(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, psnr: int, noise: bool
) -> None:
    """Where some are coded as they are, references of the others are no longer the trial's."""
    ds = scenes.dataset(9, (40, 48), groups=TEN, mask="mask", cloudy=(1, 4), seed=43)
    if noise:
        rng = np.random.default_rng(1)
        for name in ds.data_vars:
            if ds[name].dtype == np.uint16:
                ds[name][5] = rng.integers(1, 10_000, ds[name][5].shape)
        monkeypatch.setattr(unit_encoder.raw_unit, "encode", lambda _: b"")
        # ^ nothing takes less: a date of noise is coded that way
    analyzed, raw = [], []
    real, real_tile = encode_unit, frame_encoder.code_tile

    def noted(*arguments: Any, **options: Any) -> Any:
        analyzed.append(options["analyzed"] is not None)
        return real(*arguments, **options)

    def noted_tile(*arguments: Any) -> Any:
        coded = real_tile(*arguments)
        raw.append(coded.raw)
        return coded

    monkeypatch.setattr("stvc.codec.tile_job.encode_unit", noted)
    monkeypatch.setattr(frame_encoder, "code_tile", noted_tile)
    stvc.encode(ds, tmp_path / "kept.stvc", psnr=psnr, effort="fast")
    assert any(analyzed) and sum(raw) == noise
    assert all(analyzed) != noise
    monkeypatch.setattr("stvc.codec.aim._MOST_KEPT", 0)
    del analyzed[:]
    stvc.encode(ds, tmp_path / "anew.stvc", psnr=psnr, effort="fast")
    assert not any(analyzed)
    assert (tmp_path / "kept.stvc").read_bytes() == (tmp_path / "anew.stvc").read_bytes()


def only_trial(index: int) -> Any:
    """`find_step` with a target that its first trial, at ``index``, meets."""

    def find(series: Any, plan: Any, place: Any, backgrounds: Any, *_: Any) -> Any:
        trials = _Trials(series, plan, place, backgrounds)
        return Aim(index, trials.run(index, {}, some=False).plans, {})

    return find


def test_trials_near_each_other_choose_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    real = analysis.choose_plan

    def noted(*arguments: Any) -> Any:
        asked.append(arguments[4])
        return real(*arguments)

    monkeypatch.setattr(analysis, "choose_plan", noted)
    ds = scenes.dataset(4, (40, 48), groups=TEN, seed=43)
    report = stvc.encode(ds, tmp_path / "a.stvc", psnr=49.3, effort="fast")
    assert report.psnr_clear == pytest.approx(49.3, abs=0.15)
    steps = sorted(set(asked))
    assert all(b - a > 16 for a, b in pairwise(steps))
