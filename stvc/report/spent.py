"""Where the bits of an archive went, block by block: told by the decoder while it reads them.

The entropy model says before each symbol how likely every value is; a symbol costs the negative
logarithm of that. The costs of a block's symbols are added up as they are decoded, and then scaled
so that a unit's map sums to exactly the bits that the unit takes in the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stvc.archive import Kind, UnitKey
from stvc.archive_view import Archive
from stvc.codec.decoder import decode_frames
from stvc.codec.frame_decoder import FrameDecoder
from stvc.codec.frame_stats import links_of
from stvc.codec.place import Place, Tile
from stvc.codec.structure import Link, walk_to
from stvc.codec.transform import BLOCK
from stvc.codec.unit_reading import Damage
from stvc.codec.wave_decoder import DecodedFrame

if TYPE_CHECKING:
    from stvc.codec.references import ReferenceState

F64 = npt.NDArray[np.float64]

Progress = Callable[[int, int, str], None]


class TracedArchive(Archive):
    """An archive that keeps account of the bits while it decodes.

    `spent` gives the maps of a frame that has been decoded.
    """

    _trace: _Trace | None = None

    def _walk(
        self,
        frames: list[int],
        groups: list[int],
        on_damage: Damage | None,
        progress: Progress | None = None,
    ) -> Iterator[DecodedFrame]:
        opened = self._open_place()
        links = links_of(self._reader.frames, opened.place)
        self._trace = trace = _Trace()
        return decode_frames(
            self._reader,
            opened.place,
            opened.backgrounds,
            replace(opened.model, listener=trace.add),
            frames,
            groups,
            on_damage=on_damage,
            decoder=_TracedDecoder(opened.place, opened.backgrounds, links, frames, trace),
            together=False,
        )

    def spent(self, frame: int) -> tuple[F64, ...]:
        """Bits per pixel of a frame.

        Parameters
        ----------
        frame : int
            File index (`Archive.frame_order`); decoded before this call, and forgotten by it.

        Returns
        -------
        tuple of ndarray, per group (H, W) float64
            Constant within each 8 x 8 block; each unit's pixels sum to its size in bits.
        """
        if self._trace is None:
            raise ValueError("nothing is decoded yet")
        place = self._open_place().place
        return tuple(self._group_map(place, frame, g) for g in range(len(place.grids)))

    def _group_map(self, place: Place, frame: int, group: int) -> F64:
        trace = self._trace
        assert trace is not None
        out = np.zeros(place.grids[group].shape[1:])
        for tile in place.tiles(group):
            unit = self._reader.units.get(UnitKey(Kind.PIXELS, frame, group, tile.index))
            if unit is None:
                continue
            blocks = trace.costs.pop((frame, group, tile.index), None)
            out[tile.rows, tile.columns] = spread(blocks, tile, 8.0 * unit.length)
        return out


def spread(blocks: F64 | None, tile: Tile, bits: float) -> F64:
    """Lay the costs of a tile's blocks over its pixels so that they sum to the unit's bits.

    Parameters
    ----------
    blocks : ndarray, (h, w) float64, or None
        Estimated cost of each block's symbols; None if the unit was not coded by the network.
    tile : Tile
    bits : float
        Size of the unit's payload.

    Returns
    -------
    ndarray, (H, W) float64
        What the symbols do not explain (header, corrections of a bound, units without network)
        is spread evenly over the blocks that were coded, or over all if none was.
    """
    h, w = tile.size
    inside = np.zeros(tile.padded)
    inside[:h, :w] = 1.0
    counts = inside.reshape(tile.padded[0] // BLOCK, BLOCK, -1, BLOCK).sum(axis=(1, 3))
    costs = np.zeros_like(counts) if blocks is None else blocks
    total = float(costs.sum())
    if total > bits:
        costs = costs * (bits / total)
    else:
        coded = costs > 0 if total > 0 else np.ones_like(costs, bool)
        costs = costs + np.where(coded, (bits - total) / coded.sum(), 0.0)
    per_pixel = (costs / counts).repeat(BLOCK, 0).repeat(BLOCK, 1)
    return np.asarray(per_pixel[:h, :w])


class _Trace:
    """Costs of the units met so far."""

    def __init__(self) -> None:
        self.costs: dict[tuple[int, int, int], F64] = {}
        self._unit: tuple[tuple[int, int, int], tuple[int, int]] | None = None

    def begin(self, frame: int, group: int, tile: Tile) -> None:
        """Say which unit is decoded next."""
        shape = (tile.padded[0] // BLOCK, tile.padded[1] // BLOCK)
        self._unit = ((frame, group, tile.index), shape)

    def add(self, places: npt.NDArray[np.intp], bits: F64) -> None:
        """Add costs of tokens, given by raster position."""
        if self._unit is None:
            return
        key, shape = self._unit
        costs = self.costs.setdefault(key, np.zeros(shape))
        np.add.at(costs.reshape(-1), places, bits)


class _TracedDecoder(FrameDecoder):
    """Tells the trace which unit comes next."""

    def __init__(
        self,
        place: Place,
        backgrounds: Any,
        links: Sequence[Link],
        frames: Sequence[int],
        trace: _Trace,
    ) -> None:
        super().__init__(place, backgrounds, links, walk_to(frames, links))
        self._trace = trace

    def start_frame(self, frame: int, time: int) -> None:
        super().start_frame(frame, time)
        for key in [key for key in self._trace.costs if key[0] < frame - 1]:
            del self._trace.costs[key]  # frames that only led to others

    def state(self, frame: int, group: int, tile: Tile) -> ReferenceState:
        self._trace.begin(frame, group, tile)
        return super().state(frame, group, tile)
