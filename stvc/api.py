"""The three calls of the public API: `encode`, `append`, `open`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stvc.errors import CorruptInputError
from stvc.quality import quality_settings

if TYPE_CHECKING:
    import xarray as xr

    from stvc.archive_view import Archive
    from stvc.codec.tile_job import Spread

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class EncodeReport:
    """What `encode` or `append` did."""

    path: Path
    frames_added: int
    frames_total: int
    bytes_before: int
    bytes_after: int
    psnr_clear: float | None
    """Of the whole archive, dB, peak 10000 DN; None if nothing is clear or nothing is lost."""
    seconds: float
    frames_superseded: int = 0
    """Earlier versions of acquisitions that frames added by this call replace in views."""


def encode(
    ds: xr.Dataset,
    path: str | os.PathLike[str],
    *,
    quality: float | None = None,
    psnr: float | None = None,
    max_error: int | None = None,
    lossless: bool = False,
    max_bytes: int | None = None,
    clouds: str = "drop",
    reference: str = "auto",
    effort: str = "default",
    external_background: bool = False,
    cache_dir: str | os.PathLike[str] | None = None,
    overwrite: bool = True,
    progress: Progress | None = None,
    spread: Spread | None = None,
) -> EncodeReport:
    """Encode a dataset to a new archive.

    Parameters
    ----------
    ds : xarray.Dataset
        One variable per band, dims ``(time, y, x)`` uint16 DN (0 = nodata); bands of another
        resolution on ``y20, x20`` or ``y60, x60``; optional ``SCL`` or boolean ``mask`` (true =
        cloud, shadow or nodata); CRS in ``spatial_ref``.
    path : path-like
        The archive; written whole or not at all.
    quality : float, optional
        0 (small) to 100 (fine); 40 if nothing else is asked for.
    psnr : float, optional
        Target over the clear pixels of all bands and dates, dB, peak 10000 DN.
    max_error : int, optional
        Largest error of every clear pixel of every band, DN.
    lossless : bool
        Keep every pixel, clouds and nodata included.
    max_bytes : int, optional
        Most bytes that the masks and pixels of one date may take: dates that would take more get
        coarser steps than the others. Appended dates obey it too.
    clouds : {"drop", "coarse", "keep"}
        What to do with ground that the mask hides.
    reference : {"auto", "none", "background", "recent", "both"}
        What dates are predicted from. ``auto`` is ``both``, but makes a background only for
        series that are long enough to pay for it.
    effort : {"default", "fast"}
        ``fast`` codes with a smaller entropy model: several times faster both ways, somewhat
        larger files, the same pixels. Dates appended later go on with the archive's model.
    external_background : bool
        Keep the historical background in the cache and only its hash in the archive, which then
        decodes only where the cache has it; ``stvc bundle`` makes it whole.
    cache_dir : path-like, optional
        Where historical backgrounds are kept for later runs; no cache if not given, but with
        ``external_background`` the user's own.
    overwrite : bool
        False refuses to replace an existing file.
    progress : callable, optional
        Called with (done, total, what).
    spread : callable, optional
        Where the tiles of large places are coded: like `map`, such as ``pool.map`` of a process
        pool. The archive is the same, byte for byte.

    Raises
    ------
    CorruptInputError
        If the dataset breaks the contract, or the file exists and ``overwrite`` is false.
    QualityError
        If the quality settings contradict each other or are out of range.
    """
    from stvc.archiving import encode_series
    from stvc.dataset import series_from_dataset

    began = time.perf_counter()
    target = Path(path)
    settings = quality_settings(
        quality, psnr, max_error, lossless, clouds, reference, effort, max_bytes
    )
    if target.exists() and not overwrite:
        raise CorruptInputError(f"{target} exists; append to it, or encode with overwrite=True")
    series = series_from_dataset(ds)
    if not len(series.times):
        raise CorruptInputError("the dataset has no dates; nothing to encode")
    before = target.stat().st_size if target.exists() else 0
    encode_series(
        series,
        target,
        settings,
        effort=effort,
        cache_dir=cache_dir,
        external=external_background,
        progress=progress,
        spread=spread,
    )
    return _report(target, len(series.times), before, began)


def append(
    ds: xr.Dataset,
    path: str | os.PathLike[str],
    *,
    cache_dir: str | os.PathLike[str] | None = None,
    accept_offset: bool = False,
    progress: Progress | None = None,
    spread: Spread | None = None,
) -> EncodeReport:
    """Append the dates that an archive does not hold yet, with the archive's own settings.

    Parameters
    ----------
    ds : xarray.Dataset
        Same place, bands and mask kind as the archive; dates already there are skipped. With
        variables ``product_id`` or ``baseline`` along time, a newer version of an acquisition that
        is there supersedes it: both stay on record, and views show the newer one.
    path : path-like
        The archive. Earlier dates stay byte-identical; with nothing new the file is not touched.
    cache_dir : path-like, optional
        Where an external background is looked up, by default the user's cache; and a refreshed one,
        which then predicts the new dates, in this directory only.
    accept_offset : bool
        Take frames whose clear ground lies a baseline's offset (about 1000 DN) beside what the
        archive holds.
    progress : callable, optional
    spread : callable, optional
        As for `encode`.

    Raises
    ------
    CorruptInputError
        If the dataset does not fit the archive.
    RadiometryError
        If a frame looks as if an offset had been left in its DN, or removed twice; nothing is
        appended then.
    """
    from stvc.archiving import append_series
    from stvc.dataset import series_from_dataset

    began = time.perf_counter()
    target = Path(path)
    before = target.stat().st_size
    done = append_series(
        series_from_dataset(ds),
        target,
        cache_dir=cache_dir,
        accept_offset=accept_offset,
        progress=progress,
        spread=spread,
    )
    return _report(target, done.added, before, began, done.superseded)


def open(
    path: str | os.PathLike[str],
    *,
    on_error: str = "raise",
    cache_dir: str | os.PathLike[str] | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Archive:
    """Open an archive; nothing is decoded until asked for.

    Parameters
    ----------
    path : path-like
        Or a URL for fsspec (``https://``, ``s3://``, ``simplecache::https://``): of a remote
        archive only the byte ranges that are needed are read.
    on_error : {"raise", "skip"}
        ``skip``: damaged units decode to 0 (nodata) and are named in ``Archive.damaged``.
    cache_dir : path-like, optional
        Where an external background is looked up; by default the user's cache.
    storage_options : mapping, optional
        For fsspec, with a URL: credentials and the like.
    """
    from stvc.archive_view import Archive
    from stvc.remote import is_url

    return Archive(
        str(path) if is_url(path) else Path(path),
        on_error=on_error,
        cache_dir=cache_dir,
        storage_options=storage_options,
    )


def _report(path: Path, added: int, before: int, began: float, superseded: int = 0) -> EncodeReport:
    with open(path) as archive:
        info = archive.info()
    return EncodeReport(
        path,
        added,
        info["frames"],
        before,
        path.stat().st_size,
        info["psnr_clear"],
        time.perf_counter() - began,
        superseded,
    )
