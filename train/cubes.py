"""Training samples: cubes in a folder, coded by the real encoder front end at random settings.

Symbols do not depend on the entropy model (the quantizer alone settles distortion), so what the
network learns from is exactly what the encoder will ask it to code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import affine_grid, grid_sample

from stvc.codec.analysis import UnitAnalysis, analyze, finished
from stvc.codec.network_coding import optimized
from stvc.codec.prediction import turned_references
from stvc.codec.quantize import SKIPPED
from stvc.codec.references import ReferenceState, linked_state
from stvc.codec.spectral import fit_klt
from stvc.codec.spectral_fit import textures
from stvc.codec.structure import Link, Planned, plan_frames
from stvc.codec.transform import pad_to_blocks
from stvc.codec.unit import UnitContext
from stvc.model.features import FrameSide, unit_features
from stvc.model.weights import EntropyModel

TEN_METER = {"B02", "B03", "B04", "B08"}
SIXTY_METER = {"B01", "B09", "B10"}
_CHOSEN = 0.7
"""Share of windows whose levels an entropy model chooses."""
_REPROJECTED, _RELIT = 0.4, 0.25
"""Shares of windows of cubes that are put on another grid, and whose bands are scaled."""
_MOST_REPROJECTED = 24
"""Dates."""
_TEXTURED = 0.8
"""Share of windows whose spectral transform is fitted as encoders do; others: to all variance."""
S = TypeVar("S")
Shape = Callable[[UnitAnalysis, npt.NDArray[np.uint8], FrameSide, str], S]
"""Makes a training sample of an analyzed unit; see `sample_of`."""
CROPS = (128, 64, 32)
"""Crop sides in pixels; training batches hold one size each."""


@dataclass(frozen=True)
class Cube:
    """One band group of one place."""

    name: str
    pixels: npt.NDArray[np.uint16]
    """(T, C, H, W) DN."""
    hidden: npt.NDArray[np.bool_]
    """(T, H, W)."""
    gsd: int
    series: bool
    """False: the T images show different places."""
    resampled: bool
    """True if the bands of this group were interpolated from a coarser grid."""


@dataclass(frozen=True)
class Sample:
    """One coding unit as the network sees it; N tokens in raster order."""

    size: tuple[int, int]
    context: npt.NDArray[np.int8]
    """(C, N, 64 planes), see `stvc.model.features.UnitFeatures`."""
    side: npt.NDArray[np.int8]
    candidates: npt.NDArray[np.int16]
    symbols: npt.NDArray[np.int16]
    importance: npt.NDArray[np.uint8]
    step_index: int
    name: str


def load_cubes(folder: Path, exclude: list[str]) -> list[Cube]:
    """Read every ``.npz`` cube below a folder, split into native band groups.

    Parameters
    ----------
    folder : Path
    exclude : list of str
        Cubes whose path contains one of these are left out: the places to report on.
    """
    cubes: list[Cube] = []
    for path in sorted(folder.rglob("*.npz")):
        if any(word in str(path) for word in exclude):
            continue
        with np.load(path, allow_pickle=True) as archive:
            x = archive["x"]
            bands = [str(b) for b in archive["bands"]]
            masked = "mask" in archive.files
            hidden = archive["mask"] != 0 if masked else np.zeros((len(x), *x.shape[2:]), bool)
        if x.dtype != np.uint16:
            continue
        hidden = hidden | (x == 0).all(1)
        series = "chips" not in path.parts
        coarse = "20m" in path.stem or path.stem.startswith(("gen_", "geesr"))
        thirty = "hls" in path.stem
        groups = {
            "10": [i for i, b in enumerate(bands) if b in TEN_METER],
            "20": [i for i, b in enumerate(bands) if b not in TEN_METER | SIXTY_METER],
        }
        if coarse or thirty or len(bands) <= 4:
            cubes.append(
                Cube(path.stem, x, hidden, 30 if thirty else 20 if coarse else 10, series, False)
            )
            continue
        if groups["10"]:
            cubes.append(
                Cube(path.stem, np.ascontiguousarray(x[:, groups["10"]]), hidden, 10, series, False)
            )
        if groups["20"]:
            half = np.ascontiguousarray(x[:, groups["20"], ::2, ::2])
            cubes.append(Cube(path.stem + "/20", half, hidden[:, ::2, ::2], 20, series, True))
    return cubes


def _blobs(rng: np.random.Generator, side: int) -> npt.NDArray[np.bool_]:
    """A random cloud mask."""
    y, x = np.mgrid[:side, :side]
    out = np.zeros((side, side), bool)
    for _ in range(int(rng.integers(1, 5))):
        cy, cx = rng.uniform(0, side, 2)
        ry, rx = rng.uniform(0.05, 0.6, 2) * side
        out |= ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1
    return out


def sample_of(
    unit: UnitAnalysis, spread: npt.NDArray[np.uint8], frame: FrameSide, name: str
) -> Sample:
    """Shape an analyzed unit for the network."""
    plan = unit.plan
    refs, predicted = turned_references(unit.refs, unit.predicted, plan.turns)
    f = unit_features(refs, predicted, unit.steps, unit.importance, plan.profiles, spread, frame)
    c, h, w, _ = unit.symbols.shape
    symbols = np.clip(unit.symbols, -32767, 32767).astype(np.int16).reshape(c, h * w, 64)
    return Sample(
        (h, w),
        f.context,
        f.side,
        f.candidates,
        symbols,
        unit.importance.reshape(-1),
        plan.step_index,
        name,
    )


def samples(
    cubes: list[Cube],
    seed: int,
    step_range: tuple[int, int] = (96, 290),
    shape: Shape[S] = sample_of,  # type: ignore[assignment]
    levels_by: EntropyModel | None = None,
) -> Iterator[S]:
    """Yield coding units for ever; ``levels_by`` chooses the levels of most, as encoders do."""
    rng = np.random.default_rng(seed)
    area = np.array([np.sqrt(c.pixels[0, 0].size) * np.sqrt(len(c.pixels)) for c in cubes])
    weight = np.array(
        [
            (2.0 if c.series and len(c.pixels) > 3 else 0.8) * (0.6 if c.resampled else 1)
            for c in cubes
        ]
    ) * np.sqrt(area)
    weight /= weight.sum()
    while True:
        cube = cubes[rng.choice(len(cubes), p=weight)]
        clouds = cubes[rng.choice(len(cubes), p=weight)]
        yield from _window(varied(cube, clouds, rng), rng, step_range, shape, levels_by)


def varied(cube: Cube, clouds: Cube, rng: np.random.Generator) -> Cube:
    """Another cube like it.

    Run backward, seen from farther away, reprojected, under other light, under another place's
    clouds, or several of these.
    """
    pixels, hidden, gsd = cube.pixels, cube.hidden, cube.gsd
    if rng.random() < _REPROJECTED:
        if len(pixels) > _MOST_REPROJECTED:
            start = int(rng.integers(0, len(pixels) - _MOST_REPROJECTED + 1))
            some = slice(start, start + _MOST_REPROJECTED)
            pixels, hidden = pixels[some], hidden[some]
        zoom = float(np.exp(rng.uniform(np.log(0.7), np.log(1.5))))
        angle = rng.uniform(0, 2 * np.pi) if rng.random() < 0.8 else 0.0
        shifts = rng.normal(0, 0.3 if rng.random() < 0.5 else 0.0, (len(pixels), 2))
        kernel = str(rng.choice(["nearest", "bilinear", "bicubic", "bicubic"]))
        pixels, hidden = reprojected(pixels, hidden, angle, zoom, shifts, kernel)
        gsd = min(round(gsd / zoom), 60)
    if rng.random() < _RELIT:
        gains = np.exp(rng.normal(0, 0.25, pixels.shape[1]))[:, None, None].astype(np.float32)
        pixels = np.clip(np.rint(pixels * gains), 0, 65535).astype(np.uint16)
    if cube.series and rng.random() < 0.4:
        pixels, hidden = pixels[::-1], hidden[::-1]
    height, width = pixels.shape[2:]
    if min(height, width) >= 128 and rng.random() < 0.25:
        height, width = height // 2 * 2, width // 2 * 2
        split = (*pixels.shape[:2], height // 2, 2, width // 2, 2)
        mean = pixels[:, :, :height, :width].reshape(split).mean((3, 5), dtype=np.float32)
        pixels = np.rint(mean).astype(np.uint16)
        hidden = hidden[:, :height, :width].reshape(split[:1] + split[2:]).any((2, 4))
        gsd = min(2 * gsd, 60)
    if clouds is not cube and clouds.hidden.any() and rng.random() < 0.35:
        other = clouds.hidden[rng.integers(0, len(clouds.hidden), len(pixels))]
        turned = np.rot90(other, int(rng.integers(4)), (1, 2))
        tiles = [-(-a // b) for a, b in zip(pixels.shape[2:], turned.shape[1:], strict=True)]
        wide = np.tile(turned, (1, *tiles))[:, : pixels.shape[2], : pixels.shape[3]]
        some = rng.random(len(pixels)) < 0.6
        hidden = hidden | (wide & some[:, None, None])
    return replace(cube, pixels=pixels, hidden=hidden, gsd=gsd)


def reprojected(
    pixels: npt.NDArray[np.uint16],
    hidden: npt.NDArray[np.bool_],
    angle: float,
    zoom: float,
    shifts: npt.NDArray[np.float64],
    kernel: str,
) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.bool_]]:
    """Turn and zoom a cube as if it had been put on another grid.

    Parameters
    ----------
    pixels : array, (T, C, H, W) uint16
    hidden : array, (T, H, W) bool
    angle : float
        Radians.
    zoom : float
        Above 1, a pixel becomes larger.
    shifts : array, (T, 2)
        Pixels to the right and down by which dates lie beside the grid.
    kernel : str
        ``"nearest"``, ``"bilinear"`` or ``"bicubic"``.

    Returns
    -------
    array, (T, C, H, W) uint16
        The ground goes on mirrored beyond the edges of the cube.
    array, (T, H, W) bool
        What a hidden pixel went into.
    """
    count, _, height, width = pixels.shape
    cos, sin = np.cos(angle) / zoom, np.sin(angle) / zoom
    moves = np.empty((count, 2, 3), np.float32)
    moves[:, 0, :2] = cos, -sin * height / width
    moves[:, 1, :2] = sin * width / height, cos
    moves[:, :, 2] = 2 * shifts / (width, height)
    grid = affine_grid(torch.from_numpy(moves), [count, 1, height, width], align_corners=False)

    def sampled(planes: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
        given = torch.from_numpy(planes.astype(np.float32))
        found = grid_sample(given, grid, kernel, padding_mode="reflection", align_corners=False)
        return np.asarray(found.numpy())

    moved, covered = sampled(pixels), sampled(hidden[:, None])[:, 0]
    return np.clip(np.rint(moved), 0, 65535).astype(np.uint16), np.abs(covered) > 1e-3


def _window(
    cube: Cube,
    rng: np.random.Generator,
    step_range: tuple[int, int],
    shape: Shape[S],
    levels_by: EntropyModel | None,
) -> Iterator[S]:
    t, c, height, width = cube.pixels.shape
    fitting = [s for s in CROPS if s <= min(height, width)] or [32]
    side = int(fitting[0] if rng.random() < 0.75 else rng.choice(fitting))
    crop = side - int(rng.integers(1, 8)) if rng.random() < 0.15 else side
    # ^ now and then a size that is no multiple of the block
    crop = min(crop, height, width)
    y0, x0 = int(rng.integers(0, height - crop + 1)), int(rng.integers(0, width - crop + 1))
    stride = int(rng.choice([1, 1, 1, 2, 3])) if t > 12 else 1
    length = int(min(rng.integers(3, 18), t)) if cube.series else 1
    start = int(rng.integers(0, max(1, t - (length - 1) * stride)))
    times = np.arange(start, t, stride)[:length]
    if cube.series and t <= 5 and rng.random() < 0.5:
        times = rng.permutation(times)
    bands = np.arange(c)
    if rng.random() < 0.3:
        bands = np.sort(rng.permutation(c)[: int(rng.integers(1, c + 1))])
    window = (slice(None), slice(y0, y0 + crop), slice(x0, x0 + crop))
    turn, flip = int(rng.integers(4)), bool(rng.integers(2))

    def view(planes: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        out = np.rot90(planes[window], turn, (-2, -1))
        return pad_to_blocks(np.ascontiguousarray(out[..., ::-1] if flip else out))

    def pixels_at(k: int) -> npt.NDArray[np.uint16]:
        return np.asarray(view(cube.pixels[k][bands]), np.uint16)

    def hidden_at(k: int) -> npt.NDArray[np.bool_]:
        edge = np.ones((side, side), bool)
        edge[:crop, :crop] = np.asarray(view(cube.hidden[k][None]))[0][:crop, :crop]
        return edge

    if crop < side and crop <= side - 8:
        return
    frames = [(pixels_at(int(k)), hidden_at(int(k))) for k in times]
    mode = rng.random()
    coarse = mode < 0.06
    if mode > 0.94:
        frames = [(p, np.zeros_like(h)) for p, h in frames]
    elif not cube.hidden.any() and rng.random() < 0.35:
        frames = [(p, h | _blobs(rng, side)) for p, h in frames]
    clear = np.concatenate([p.reshape(len(bands), -1)[:, ~h.reshape(-1)].T[::7] for p, h in frames])
    if len(clear) < 50:
        return
    stack = np.stack([p for p, _ in frames]), np.stack([h for _, h in frames])
    klt = fit_klt(clear, textures(*stack) if rng.random() < _TEXTURED else None)
    low, high = step_range
    q = int(rng.integers(low, high)) if rng.random() < 0.3 else int(rng.integers(130, 250))
    state = ReferenceState(klt.mean, (side, side))
    gap = int(rng.choice([2, 5, 5, 10, 30])) * stride
    day0 = int(rng.integers(17000, 20000))
    if cube.series and t >= 6 and rng.random() < 0.6:
        pool = np.sort(rng.permutation(t)[: int(rng.integers(5, 25))])
        stack = np.stack([pixels_at(int(k)) for k in pool]).astype(np.float32)
        cloud = np.stack([hidden_at(int(k)) for k in pool])
        stack = np.where(cloud[:, None], np.nan, stack)
        never = cloud.all(0)
        stack[:, :, never] = klt.mean[None, :, None]
        composite = np.rint(np.nanmedian(stack, 0)).astype(np.uint16)
        fine = q - int(rng.integers(0, 40))
        unit = analyze(composite, never, state, klt, fine, day0, register=False)
        if (unit.importance != SKIPPED).any():
            yield shape(unit, klt.spread, FrameSide(day0, cube.gsd, (0, 0), fine), cube.name)
        state = ReferenceState(klt.mean, (side, side), background=unit.decoded.astype(np.int32))
    fresh, states = state, []
    chooser = levels_by if rng.random() < _CHOSEN else None
    for k, link in planned(rng, [float(1 - h.mean()) for _, h in frames]):
        frame, hidden = frames[k]
        day = day0 + k * gap
        ends = [states[i] if i >= 0 else None for i in link]
        state = linked_state(fresh, *ends, day)
        states.append(state)
        if hidden.all() and not coarse:
            continue
        unit = analyze(frame, hidden, state, klt, q, day, coarse=coarse, finish=chooser is None)
        if chooser is not None:
            around = UnitContext(
                klt, hidden, hidden, ~hidden, frame.shape[1:], day, cube.gsd, q, coarse
            )
            if (unit.importance != SKIPPED).any():
                unit = optimized(unit, around, chooser)
                unit = finished(unit, klt, hidden, coarse=coarse)
        state.update(unit.decoded, hidden, day, unit.plan.shift)
        yield shape(unit, klt.spread, FrameSide(day, cube.gsd, unit.plan.shift, q), cube.name)


def planned(rng: np.random.Generator, clear: list[float]) -> list[Planned]:
    """Order and links of a batch: coarse to fine in time, or one by one as a scheduled job does."""
    if rng.random() < 0.65:
        return plan_frames([], [], range(len(clear)), clear)
    return [Planned(k, Link(k - 1)) for k in range(len(clear))]
