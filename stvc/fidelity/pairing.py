"""An original and its decoded copy, aligned by time, band and coordinates."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from stvc.bands import find_band
from stvc.crs import short_crs
from stvc.errors import CorruptInputError
from stvc.grid import is_index
from stvc.masks import hidden, hidden_on_grid
from stvc.types import F64, U16, GroupGrid, MaskGrid, Series

Bool = npt.NDArray[np.bool_]
Index = npt.NDArray[np.intp]
Times = npt.NDArray[np.datetime64]

_TOLERANCE = 0.05
"""Pixels by which grids may differ: less than what any resampling would do."""


@dataclass(frozen=True)
class PairedGroup:
    """The shared bands of one native grid."""

    grid: GroupGrid
    """The archive's grid, cut to the shared ground and the shared bands."""
    original: U16
    """(T, C, H, W) DN."""
    decoded: U16
    """(T, C, H, W) DN."""
    clear: Bool
    """(T, H, W): the mask shows the ground, and no band of the original is nodata."""

    @property
    def bands(self) -> tuple[str, ...]:
        """C names, as the archive spells them."""
        return self.grid.bands


@dataclass(frozen=True)
class Pair:
    """Everything that both sides have."""

    times: Times
    """(T,) datetime64[s]."""
    groups: tuple[PairedGroup, ...]
    band_attrs: dict[str, dict[str, object]]
    """The archive's, per band."""
    has_mask: bool
    """False: every pixel with a value counts as clear."""
    notes: tuple[str, ...] = field(default=())
    """What was left out, for the user."""

    @property
    def finest(self) -> PairedGroup:
        """The group with most pixels."""
        return max(self.groups, key=lambda g: g.grid.shape[1] * g.grid.shape[2])

    @property
    def bands(self) -> list[str]:
        """All shared bands."""
        return [band for group in self.groups for band in group.bands]


def pair(original: Series, decoded: Series) -> Pair:
    """Align an original with the series that its archive decodes to.

    Parameters
    ----------
    original, decoded : Series
        Dates are matched to the second, or by day where days are unique; bands by name, or by
        what the names mean (``B2`` is ``B02``); pixels by their coordinates, to a twentieth of a
        pixel. Without coordinates on one side, both must have the same shape.

    Returns
    -------
    Pair
        What both have; `Pair.notes` says what only one of them has.

    Raises
    ------
    CorruptInputError
        If they share no date or no band, or lie on different ground, grids or CRS.
    """
    _check_crs(original, decoded)
    notes: list[str] = []
    theirs, ours = _match_times(original.times, decoded.times, notes)
    places = {
        band: (g, c) for g, grid in enumerate(original.grids) for c, band in enumerate(grid.bands)
    }
    mask_series, mask_rows = (decoded, ours)
    if decoded.mask.kind == "none" and original.mask.kind != "none":
        mask_series, mask_rows = (original, theirs)
        notes.append(
            "the archive has no mask: clear pixels are those of the original's "
            f"{original.mask.kind}"
        )
    unclear = hidden(mask_series.classes[mask_rows], mask_series.mask.kind)
    groups, missing = [], []
    for g, grid in enumerate(decoded.grids):
        found = {band: _find(band, places) for band in grid.bands}
        missing += [band for band, place in found.items() if place is None]
        shared = {band: place for band, place in found.items() if place is not None}
        if shared:
            groups.append(
                _pair_group(
                    original, decoded, g, shared, theirs, ours, unclear, mask_series.mask, notes
                )
            )
    if not groups:
        raise CorruptInputError(
            f"the original has none of the archive's bands: it has {', '.join(places)}; "
            f"the archive has {', '.join(b for grid in decoded.grids for b in grid.bands)}"
        )
    if missing:
        notes.append(f"not in the original, so not compared: {', '.join(missing)}")
    attrs: dict[str, dict[str, object]] = {b: dict(a) for b, a in decoded.band_attrs.items()}
    has_mask = mask_series.mask.kind != "none"
    return Pair(decoded.times[ours], tuple(groups), attrs, has_mask, tuple(dict.fromkeys(notes)))


def _check_crs(original: Series, decoded: Series) -> None:
    if not original.crs_wkt or not decoded.crs_wkt or original.crs_wkt == decoded.crs_wkt:
        return
    from pyproj import CRS

    theirs, ours = CRS.from_wkt(original.crs_wkt), CRS.from_wkt(decoded.crs_wkt)
    same = theirs == ours or theirs.to_epsg() == ours.to_epsg()
    if not same and short_crs(original.crs_wkt) != short_crs(decoded.crs_wkt):
        raise CorruptInputError(
            f"the original is in {theirs.name}, the archive in {ours.name}; "
            "compare with the frames that were encoded, before any reprojection"
        )


def _match_times(theirs: Times, ours: Times, notes: list[str]) -> tuple[Index, Index]:
    """Rows of both that show the same acquisitions."""
    exact = np.intersect1d(theirs, ours, return_indices=True)
    found: tuple[Index, Index] = (exact[1], exact[2])
    if not len(found[0]):
        their_days, our_days = theirs.astype("datetime64[D]"), ours.astype("datetime64[D]")
        if all(len(np.unique(days)) == len(days) for days in (their_days, our_days)):
            by_day = np.intersect1d(their_days, our_days, return_indices=True)
            found = (by_day[1], by_day[2])
            if len(found[0]):
                notes.append("times of day differ: matched by day")
    if not len(found[0]):
        raise CorruptInputError(
            f"original and archive share no date: the original has {_span(theirs)}, "
            f"the archive has {_span(ours)}"
        )
    for name, rows, every in (("original", found[0], theirs), ("archive", found[1], ours)):
        if len(rows) < len(every):
            notes.append(f"{len(every) - len(rows)} dates are in the {name} only")
    return found


def _span(times: Times) -> str:
    if not len(times):
        return "none"
    first, last = (str(t.astype("datetime64[D]")) for t in (times[0], times[-1]))
    return f"{first} only" if len(times) == 1 else f"{len(times)} from {first} to {last}"


def _find(band: str, places: dict[str, tuple[int, int]]) -> tuple[int, int] | None:
    if band in places:
        return places[band]
    known = find_band(band)
    if known is None:
        return None
    return next((place for name, place in places.items() if find_band(name) == known), None)


def _pair_group(
    original: Series,
    decoded: Series,
    group: int,
    shared: dict[str, tuple[int, int]],
    theirs: Index,
    ours: Index,
    unclear: Bool,
    mask: MaskGrid,
    notes: list[str],
) -> PairedGroup:
    grid = decoded.grids[group]
    rows, columns = None, None
    planes = []
    for band, (g, c) in shared.items():
        other = original.grids[g]
        here_y, there_y = _match_axis(grid.y, other.y, band, "rows", notes)
        here_x, there_x = _match_axis(grid.x, other.x, band, "columns", notes)
        if rows is None or columns is None:
            rows, columns = here_y, here_x
        elif not (np.array_equal(rows, here_y) and np.array_equal(columns, here_x)):
            raise CorruptInputError(
                f"the original's bands {', '.join(shared)} cover different ground; "
                "give them on one grid, as they were encoded"
            )
        planes.append(original.pixels[g][theirs, c][:, there_y][:, :, there_x])
    if rows is None or columns is None:
        raise ValueError("a group of no bands cannot be paired")
    channels = [grid.bands.index(band) for band in shared]
    before = np.stack(planes, axis=1)
    after = decoded.pixels[group][ours][:, channels][:, :, rows][:, :, :, columns]
    cut = replace(grid, bands=tuple(shared), y=grid.y[rows], x=grid.x[columns])
    if cut.shape[1:] != grid.shape[1:]:
        notes.append(
            f"{' '.join(shared)}: compared on {cut.shape[1]} x {cut.shape[2]} of "
            f"{grid.shape[1]} x {grid.shape[2]} pixels, where both have ground"
        )
    covered = np.asarray(hidden_on_grid(unclear, mask, grid))
    covered = covered[:, rows][:, :, columns] if len(covered) else covered
    return PairedGroup(cut, before, after, ~covered & (before > 0).all(axis=1))


def _match_axis(
    ours: F64, theirs: F64, band: str, what: str, notes: list[str]
) -> tuple[Index, Index]:
    """Positions of the shared pixel centers along one axis, in both."""
    blind = is_index(ours) or is_index(theirs)
    if blind and len(ours) == len(theirs):
        if is_index(ours) != is_index(theirs):
            notes.append(
                "one side has no coordinates: pixels are matched by row and column, "
                "which assumes the same ground"
            )
        every = np.arange(len(ours))
        return every, every
    if blind:
        raise CorruptInputError(
            f"{band}: the original has {len(theirs)} {what}, the archive {len(ours)}, and without "
            "coordinates on both sides they cannot be matched"
        )
    pixel = abs(float(ours[1] - ours[0])) if len(ours) > 1 else _pixel(theirs)
    order = np.argsort(theirs, kind="stable")
    at = np.clip(np.searchsorted(theirs[order], ours - pixel / 2), 0, len(theirs) - 1)
    there = order[at]
    near = np.abs(theirs[there] - ours) <= _TOLERANCE * pixel
    same_pitch = len(theirs) < 2 or len(ours) < 2 or abs(_pixel(theirs) / pixel - 1) < 0.01
    if not near.any() or not same_pitch:
        raise CorruptInputError(
            f"{band}: the original's {what} lie elsewhere: {_extent(theirs)}, "
            f"the archive's: {_extent(ours)}; give the original on the grid that was encoded"
        )
    return np.flatnonzero(near), there[near]


def _pixel(axis: F64) -> float:
    return abs(float(axis[-1] - axis[0])) / (len(axis) - 1) if len(axis) > 1 else 1.0


def _extent(axis: F64) -> str:
    return f"{len(axis)} from {axis[0]:.10g} to {axis[-1]:.10g}, every {_pixel(axis):.6g}"
