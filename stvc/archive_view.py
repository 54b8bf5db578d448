"""An open archive as Python users meet it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stvc import threads
from stvc.archive import ArchiveReader
from stvc.archive_choice import Choice, choose, series_of
from stvc.archive_info import describe
from stvc.archive_verify import VerifyReport, verify
from stvc.codec.decoder import decode_frames
from stvc.codec.frame_stats import links_of
from stvc.codec.unit_reading import Damage
from stvc.codec.wave_decoder import DecodedFrame
from stvc.errors import (
    CorruptInputError,
    QualityError,
)
from stvc.header import OpenPlace, open_place, samples_of
from stvc.remote import fetcher, is_url, open_reader
from stvc.types import Series
from stvc.versions import superseded
from stvc.walker import Progress, WatchedDecoder, check_fits

if TYPE_CHECKING:
    import xarray as xr


class Archive:
    """One archive; decodes on demand.

    Parameters
    ----------
    path : Path or str
        A path, or a URL for fsspec (``https://``, ``s3://``, ...).
    on_error : {"raise", "skip"}
        ``skip``: damaged units decode to nodata and are named in `damaged`.
    cache_dir : path-like, optional
        Where an external background is looked up; by default the user's cache.
    storage_options : mapping, optional
        For fsspec, with a URL.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        on_error: str = "raise",
        cache_dir: str | os.PathLike[str] | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        if on_error not in ("raise", "skip"):
            raise QualityError(f"on_error={on_error!r}; choose raise or skip")
        self.is_remote = is_url(path)
        """Whether `path` is a URL."""
        self.path: Path | str = path if self.is_remote else Path(path)
        self.damaged: tuple[str, ...] = ()
        """Descriptions of damaged units met so far (only with ``on_error="skip"``)."""
        self._skip = on_error == "skip"
        self._cache_dir = cache_dir
        self._storage_options = dict(storage_options or {})
        if self.is_remote:
            self._reader, _ = open_reader(str(path), self._storage_options)
        elif Path(path).is_file():
            self._reader = ArchiveReader.open(path)
        else:
            raise CorruptInputError(f"{path} is not a file; give the path of an archive")
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

    def _repr_html_(self) -> str:
        from stvc.repr_html import archive_html

        return archive_html(self)

    def close(self) -> None:
        """Close the file."""
        self._reader.close()

    @property
    def times(self) -> np.ndarray[Any, np.dtype[np.datetime64]]:
        """(T,) datetime64[s], ascending; of each acquisition only its newest version."""
        frames = self._reader.frames
        return np.array([frames[k].time for k in self.frame_order()], "datetime64[s]")

    def frame_order(self, versions: str = "latest") -> list[int]:
        """Give the file indices of the frames, sorted by time.

        Dates that arrived late, and products that were processed again, stand behind others in the
        file.

        Parameters
        ----------
        versions : {"latest", "all"}
            ``all`` keeps superseded frames, the older version first.

        Raises
        ------
        QualityError
            If `versions` is something else.
        """
        if versions not in ("latest", "all"):
            raise QualityError(f"versions={versions!r}; choose latest or all")
        frames = self._reader.frames
        gone = superseded(frames) if versions == "latest" else {}
        shown = [k for k in range(len(frames)) if k not in gone]
        return sorted(shown, key=lambda k: frames[k].time)

    def to_xarray(
        self,
        *,
        time: Any = None,
        bands: Sequence[str] | None = None,
        versions: str = "latest",
        fill: bool | None = None,
        progress: Progress | None = None,
    ) -> xr.Dataset:
        """Decode to a dataset with the variables, coordinates and CRS that were encoded.

        Parameters
        ----------
        time : date-like, slice of date-likes, or sequence of date-likes, optional
            Days (``"2019-06-01"`` means that whole day); all dates if not given.
        bands : sequence of str, optional
            All bands if not given.
        versions : {"latest", "all"}
            ``all`` also gives frames that a newer product has superseded: a time may then stand
            twice, and the variable ``superseded`` tells which is which.
        fill : bool, optional
            What pixels under clouds hold. None: what is stored (with ``clouds="drop"`` that is the
            codec's prediction, unmarked). True: the codec's prediction in every archive, and
            boolean variables ``filled`` mark it. False: nodata.
        progress : callable, optional
            Called with (done, total, what).
        """
        from stvc import accessor  # noqa: F401 - gives datasets their ``ds.stvc``
        from stvc.cloud_free import cloud_free
        from stvc.dataset import dataset_from_series

        if fill is None:
            ds = dataset_from_series(
                self.to_series(time=time, bands=bands, versions=versions, progress=progress)
            )
        else:
            ds = cloud_free(
                self, fill=fill, time=time, bands=bands, versions=versions, progress=progress
            )
        ds.encoding["source"] = str(self.path)
        for variable in ds.data_vars.values():
            variable.encoding["source"] = str(self.path)
        ds.encoding["stvc"] = {"versions": versions, "storage_options": self._storage_options}
        return ds

    def to_series(
        self,
        *,
        time: Any = None,
        bands: Sequence[str] | None = None,
        versions: str = "latest",
        progress: Progress | None = None,
    ) -> Series:
        """Like `to_xarray`, as a `stvc.types.Series`."""
        chosen = self._choose(time, bands, versions)
        grids = self._open_place(with_background=False).place.grids
        samples = samples_of(tuple(grids[g] for g in chosen.groups))
        check_fits(4 * samples * len(chosen.frames), f"decoding {len(chosen.frames)} dates")
        walked = self._decode(sorted(chosen.frames), chosen.groups, progress)
        return self._series(chosen, {frame.index: frame for frame in walked}, versions)

    def stream(
        self, *, time: Any = None, bands: Sequence[str] | None = None
    ) -> Iterator[tuple[int, Series]]:
        """Decode date by date: memory holds one date, and every chain is walked once.

        Parameters
        ----------
        time, bands
            As for `to_xarray`.

        Yields
        ------
        int, Series
            The date's position in the order of time, and its frame. Dates that were appended late
            come late.
        """
        chosen = self._choose(time, bands, "latest")
        found = list(self.damaged)
        walk = self._walk(
            sorted(chosen.frames), chosen.groups, found.append if self._skip else None
        )
        while True:
            # The number of threads is the whole program's: it is not ours between two dates.
            with threads.fitting(self._open_place().place.grids):
                frame = next(walk, None)
            self.damaged = tuple(dict.fromkeys(found))
            if frame is None:
                return
            one = replace(chosen, frames=[frame.index])
            yield (
                chosen.frames.index(frame.index),
                self._series(one, {frame.index: frame}, "latest"),
            )

    def timeline(self, *, time: Any = None) -> Series:
        """Give the dates with all that is on record of them, but no bands: nothing is decoded."""
        chosen = replace(self._choose(time, None, "latest"), groups=[], bands=[])
        return self._series(chosen, None, "latest")

    def verify(self) -> VerifyReport:
        """Check every checksum, then decode everything."""
        return verify(self._reader, self._open_place, self._walk)

    def info(self) -> dict[str, Any]:
        """Sizes, dates, settings and achieved errors, without decoding anything."""
        return describe(self._reader, self._open_place(with_background=False), self.path)

    def _choose(self, time: Any, bands: Sequence[str] | None, versions: str) -> Choice:
        order = self.frame_order(versions)
        grids = self._open_place(with_background=False).place.grids
        return choose(self._reader, grids, order, time, bands, self.path)

    def _series(
        self, chosen: Choice, decoded: Mapping[int, DecodedFrame] | None, versions: str
    ) -> Series:
        opened = self._open_place(with_background=False)
        return series_of(self._reader, opened, chosen, decoded, mark_superseded=versions == "all")

    def _open_place(self, *, with_background: bool = True) -> OpenPlace:
        if not with_background:
            return self._opened or open_place(self._reader, with_background=False)
        if self._opened is None:
            self._opened = open_place(self._reader, cache_dir=self._cache_dir)
        return self._opened

    def _decode(
        self, frames: list[int], groups: list[int], progress: Progress | None
    ) -> list[DecodedFrame]:
        found: list[str] = list(self.damaged)
        with threads.fitting(self._open_place().place.grids):
            on_damage = found.append if self._skip else None
            decoded = list(self._walk(frames, groups, on_damage, progress))
        self.damaged = tuple(dict.fromkeys(found))
        return decoded

    def _walk(
        self,
        frames: list[int],
        groups: list[int],
        on_damage: Damage | None,
        progress: Progress | None = None,
    ) -> Iterator[DecodedFrame]:
        opened = self._open_place()
        place, backgrounds = opened.place, opened.backgrounds
        decoder = None
        if progress is not None:
            links = links_of(self._reader.frames, place)
            decoder = WatchedDecoder(place, backgrounds, links, frames, progress)
        return decode_frames(
            self._reader,
            place,
            backgrounds,
            opened.model,
            frames,
            groups,
            on_damage=on_damage,
            decoder=decoder,
            ahead=fetcher(self._reader, groups) if self.is_remote else None,
        )
