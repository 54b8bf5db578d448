"""A place as encoder and decoder both see it: groups, tiles, hidden pixels, reference states."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any

import numpy as np
import numpy.typing as npt

from stvc.codec.generations import NEWEST
from stvc.codec.references import ReferenceState
from stvc.codec.spectral import Klt
from stvc.codec.transform import BLOCK
from stvc.codec.unit import UnitContext
from stvc.errors import CorruptError
from stvc.masks import hidden, hidden_on_grid
from stvc.types import F64, U8, CloudMode, GroupGrid, MaskGrid

TILE = 256
"""Pixels per tile side, on each group's own grid; the last tile of a row or column may differ."""
_LEAST_STRIP = TILE // 2
"""Pixels: what is left over is a tile of its own from here on, else a part of the one before."""
SECONDS_PER_DAY = 86400

Bool = npt.NDArray[np.bool_]
U16 = npt.NDArray[np.uint16]


@dataclass(frozen=True)
class Tile:
    """A rectangle of one group's grid."""

    index: int
    rows: slice
    columns: slice

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    @property
    def padded(self) -> tuple[int, int]:
        """Size rounded up to whole blocks."""
        h, w = self.size
        return h + -h % BLOCK, w + -w % BLOCK


def nodata_of(pixels: U16) -> Bool:
    """(T, C, H, W) DN to (T, H, W): true where every band is 0."""
    none: Bool = pixels[:, 0] == 0
    for band in range(1, pixels.shape[1]):  # band by band: memory holds one more, not all
        none &= pixels[:, band] == 0
    return none


def tile_count(pixels: int, generation: int) -> int:
    """Tiles along an axis: from generation 7 on, a narrow rest is no tile of its own."""
    rest = _LEAST_STRIP if generation > 6 else 1
    return max((pixels + TILE - rest) // TILE, min(pixels, 1))


def tiles_of(grid: GroupGrid, generation: int) -> list[Tile]:
    """Cut a group's grid into tiles, row by row."""
    rows, columns = (_cuts(size, generation) for size in grid.shape[1:])
    cuts = product(rows, columns)
    return [Tile(k, y, x) for k, (y, x) in enumerate(cuts)]


def _cuts(pixels: int, generation: int) -> list[slice]:
    starts = [TILE * k for k in range(tile_count(pixels, generation))]
    return [slice(a, b) for a, b in pairwise([*starts, pixels])] if starts else []


@dataclass(frozen=True)
class Settings:
    """Everything that decides bits; travels in the archive header, reused by appends."""

    step_index: int
    """Base quantization step of all frames: appended dates keep the look of the first."""
    clouds: CloudMode = CloudMode.DROP
    max_error: int | None = None
    """Bound in DN on every pixel that is not don't-care; None: no bound."""
    max_bytes: int | None = None
    """Most bytes that a date's masks and pixels may take; None: no limit."""
    lossless: bool = False
    """Every pixel survives, clouds and nodata included (``max_error`` is 0 then)."""
    recent: bool = True
    """Whether the recent state predicts."""
    restored: bool = True
    """Whether units may be restored; False saves time."""
    key_interval: int = 16
    """Frames between random-access points, in archives of generation 1."""
    quality: float | None = None
    """As asked for, kept for the record."""
    psnr: float | None = None
    """As asked for, dB."""
    reference: str = "auto"
    """As asked for."""

    def to_header(self) -> dict[str, Any]:
        """JSON form without what needs no saying."""
        full = {**vars(self), "clouds": self.clouds.name.lower()}
        if self.restored:
            del full["restored"]
        return {k: v for k, v in full.items() if v is not None}

    @classmethod
    def from_header(cls, header: dict[str, Any]) -> Settings:
        """Inverse of `to_header`."""
        try:
            known = {k: header[k] for k in cls.__dataclass_fields__ if k in header}
            known["clouds"] = CloudMode[str(header["clouds"]).upper()]
            settings = cls(**known)
            if not (settings.key_interval >= 1 and 0 <= settings.step_index <= 1 << 12):
                raise ValueError(
                    f"key_interval {settings.key_interval}, step_index {settings.step_index}"
                )
            return settings
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptError(
                f"archive header: settings are unusable ({error}); copy or encode it again"
            ) from None


@dataclass(frozen=True)
class Place:
    """What every unit of an archive shares."""

    grids: tuple[GroupGrid, ...]
    mask: MaskGrid
    klts: tuple[Klt, ...]
    settings: Settings
    generation: int = NEWEST
    """Of the codec: 1 chains frames in file order; see `stvc.codec.structure` for 2."""

    def tiles(self, group: int) -> list[Tile]:
        """Cut a group's grid into tiles, row by row."""
        return tiles_of(self.grids[group], self.generation)

    def unclear(self, classes: U8, nodata: tuple[Bool, ...]) -> tuple[Bool, ...]:
        """Pixels of one frame that do not show the ground.

        Parameters
        ----------
        classes : array, (Hm, Wm) uint8
        nodata : tuple of array, per group (H, W) bool

        Returns
        -------
        tuple of array, per group (H, W) bool
        """
        found = hidden(classes[None], self.mask.kind)
        return tuple(
            hidden_on_grid(found, self.mask, grid)[0] | n
            for grid, n in zip(self.grids, nodata, strict=True)
        )

    def context(
        self, group: int, tile: Tile, unclear: Bool, nodata: Bool, time: int
    ) -> UnitContext:
        """Context of one unit.

        Parameters
        ----------
        group : int
        tile : Tile
        unclear, nodata : array, (H, W) bool
            On the group's whole grid.
        time : int
            Seconds since 1970.
        """

        def padded(flags: Bool) -> Bool:
            out = np.ones(tile.padded, bool)
            out[: tile.size[0], : tile.size[1]] = flags[tile.rows, tile.columns]
            return out

        if self.settings.lossless:
            dont_care = padded(np.broadcast_to(np.False_, nodata.shape))
            # ^ a whole image of zeros for each of its tiles would cost more than coding them
        else:
            dont_care = padded(nodata if self.settings.clouds is CloudMode.KEEP else unclear)
        return UnitContext(
            klt=self.klts[group],
            hidden=dont_care,
            unclear=padded(unclear),
            required=~dont_care,
            size=tile.size,
            day=time // SECONDS_PER_DAY,
            gsd=max(1, round(self.grids[group].gsd)),
            base_step=self.settings.step_index,
            coarse=self.settings.clouds is CloudMode.COARSE,
        )

    def state(
        self, group: int, tile: Tile, background: npt.NDArray[np.uint16] | None
    ) -> ReferenceState:
        """Fresh references of one tile; ``background`` (C, H, W) on the whole grid of the group."""
        part = None
        if background is not None:
            h, w = tile.size
            cut = background[:, tile.rows, tile.columns].astype(np.int32)
            edge = [(0, 0), (0, tile.padded[0] - h), (0, tile.padded[1] - w)]
            part = np.pad(cut, edge, mode="edge")
        return ReferenceState(
            self.klts[group].mean, tile.padded, part, self.settings.recent, self.generation
        )


def axis_to_header(values: F64) -> list[Any]:
    """Coordinates as [first, step, count] if that reproduces them to the bit, else in full."""
    n = len(values)
    if n > 1:
        step = (values[-1] - values[0]) / (n - 1)
        for guess in (round(step), step, values[1] - values[0]):
            if np.array_equal(axis_from_header([values[0], guess, n]), values):
                return [float(values[0]), float(guess), n]
    return ["values", *values.tolist()]


def axis_from_header(entry: list[Any]) -> F64:
    """Inverse of `axis_to_header`."""
    if entry and entry[0] == "values":
        return np.array(entry[1:], np.float64)
    first, step, count = entry
    if not 0 <= int(count) <= 1 << 24:
        raise CorruptError(f"archive header: an axis of {count} pixels; copy or encode it again")
    return np.asarray(float(first) + np.arange(int(count)) * float(step), np.float64)
