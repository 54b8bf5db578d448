"""An open archive as Python users meet it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stvc import threads
from stvc.archive import ArchiveReader
from stvc.archive_info import describe
from stvc.codec.decoder import Damage, DecodedFrame, decode_frames
from stvc.errors import CorruptError, CorruptInputError, QualityError, StvcError
from stvc.header import OpenPlace, open_place
from stvc.selection import is_selected
from stvc.types import Series

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class VerifyReport:
    """What `Archive.verify` found."""

    ok: bool
    units_checked: int
    frames_checked: int
    errors: tuple[str, ...]
    sha256: str
    """Of all decoded arrays in time order."""


class Archive:
    """One archive; decodes on demand.

    Parameters
    ----------
    path : Path
    on_error : {"raise", "skip"}
        ``skip``: damaged units decode to nodata and are named in `damaged`.
    """

    def __init__(self, path: Path, *, on_error: str = "raise") -> None:
        if on_error not in ("raise", "skip"):
            raise QualityError(f"on_error={on_error!r}; choose raise or skip")
        self.path = path
        self.damaged: tuple[str, ...] = ()
        """Descriptions of damaged units met so far (only with ``on_error="skip"``)."""
        self._skip = on_error == "skip"
        if not path.is_file():
            raise CorruptInputError(f"{path} is not a file; give the path of an archive")
        self._reader = ArchiveReader.open(path)
        self._opened: OpenPlace | None = None

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        # ``stvc.open(path).to_xarray()`` is what people type: it must not leak a file
        reader = getattr(self, "_reader", None)
        if reader is not None:
            reader.close()

    def __repr__(self) -> str:
        frames = self._reader.frames
        return f"<stvc.Archive {self.path} {len(frames)} dates, {self._reader.size} bytes>"

    def close(self) -> None:
        """Close the file."""
        self._reader.close()

    @property
    def times(self) -> np.ndarray[Any, np.dtype[np.datetime64]]:
        """(T,) datetime64[s], ascending."""
        return np.sort(np.array([f.time for f in self._reader.frames], "datetime64[s]"))

    def to_xarray(self, *, time: Any = None, bands: Sequence[str] | None = None) -> xr.Dataset:
        """Decode to a dataset with the variables, coordinates and CRS that were encoded.

        Parameters
        ----------
        time : date-like, slice of date-likes, or sequence of date-likes, optional
            Days (``"2019-06-01"`` means that whole day); all dates if not given.
        bands : sequence of str, optional
            All bands if not given.
        """
        from stvc.dataset import dataset_from_series

        return dataset_from_series(self.to_series(time=time, bands=bands))

    def to_series(self, *, time: Any = None, bands: Sequence[str] | None = None) -> Series:
        """Like `to_xarray`, as a `stvc.types.Series`."""
        opened = self._open_place()
        grids = opened.place.grids
        known = [b for g in grids for b in g.bands]
        if bands is not None:
            unknown = [b for b in bands if b not in known]
            if unknown or not bands:
                raise CorruptInputError(
                    f"no band {', '.join(unknown) or '(none)'} in {self.path}; "
                    f"it holds {', '.join(known)}"
                )
        wanted = set(known if bands is None else bands)
        groups = [g for g, grid in enumerate(grids) if wanted & set(grid.bands)]
        order = np.argsort([f.time for f in self._reader.frames], kind="stable")
        chosen = [int(k) for k in order if is_selected(self._reader.frames[int(k)].time, time)]
        if not chosen:
            span = (
                ", ".join(str(t)[:10] for t in self.times[[0, -1]])
                if len(self.times)
                else "nothing"
            )
            raise CorruptInputError(f"no date of {self.path} matches {time!r}; it holds {span}")
        decoded = {frame.index: frame for frame in self._decode(sorted(chosen), groups)}
        kept = [[i for i, b in enumerate(grids[g].bands) if b in wanted] for g in groups]
        out_grids = tuple(
            type(grids[g])(
                grids[g].suffix, tuple(grids[g].bands[i] for i in keep), grids[g].y, grids[g].x
            )
            for g, keep in zip(groups, kept, strict=True)
        )
        pixels = tuple(
            np.stack([decoded[k].pixels[g][keep] for k in chosen])
            for g, keep in zip(groups, kept, strict=True)
        )
        records = [self._reader.frames[k] for k in chosen]
        return Series(
            times=np.array([r.time for r in records], "datetime64[s]"),
            grids=out_grids,
            pixels=pixels,
            mask=opened.place.mask,
            classes=np.stack([decoded[k].classes for k in chosen]),
            crs_wkt=opened.crs,
            attrs=opened.attrs,
            provenance=tuple(r.provenance for r in records)
            if any(r.provenance for r in records)
            else (),
            band_attrs={
                b: a for b, a in opened.band_attrs.items() if b in wanted or b not in known
            },
        )

    def verify(self) -> VerifyReport:
        """Check every checksum, then decode everything."""
        errors: list[str] = []
        for key in self._reader.units:
            try:
                self._reader.read(key)
            except CorruptError as error:
                errors.append(str(error))
        parts: dict[int, bytes] = {}
        try:
            opened = self._open_place()
            groups = list(range(len(opened.place.grids)))
            every = list(range(len(self._reader.frames)))
            with threads.fitting(opened.place.grids):
                for frame in self._walk(every, groups, errors.append):
                    inner = hashlib.sha256(frame.classes.tobytes())
                    for image in frame.pixels:
                        inner.update(image.astype("<u2").tobytes())
                    parts[frame.index] = inner.digest()
        except StvcError as error:
            errors.append(str(error))
        order = np.argsort([f.time for f in self._reader.frames], kind="stable")
        digest = hashlib.sha256(b"".join(parts.get(int(k), b"") for k in order))
        unique = tuple(dict.fromkeys(errors))
        return VerifyReport(
            not unique, len(self._reader.units), len(parts), unique, digest.hexdigest()
        )

    def info(self) -> dict[str, Any]:
        """Sizes, dates, settings and achieved errors, without decoding anything."""
        return describe(self._reader, self._open_place(with_background=False), self.path)

    def _open_place(self, *, with_background: bool = True) -> OpenPlace:
        if not with_background:
            return self._opened or open_place(self._reader, with_background=False)
        if self._opened is None:
            self._opened = open_place(self._reader)
        return self._opened

    def _decode(self, frames: list[int], groups: list[int]) -> list[DecodedFrame]:
        found: list[str] = list(self.damaged)
        with threads.fitting(self._open_place().place.grids):
            decoded = list(self._walk(frames, groups, found.append if self._skip else None))
        self.damaged = tuple(dict.fromkeys(found))
        return decoded

    def _walk(
        self, frames: list[int], groups: list[int], on_damage: Damage | None
    ) -> Iterator[DecodedFrame]:
        opened = self._open_place()
        return decode_frames(
            self._reader,
            opened.place,
            opened.backgrounds,
            opened.model,
            frames,
            groups,
            on_damage=on_damage,
        )
