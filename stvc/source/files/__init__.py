"""Frames from files: GeoTIFFs, SAFE folders, NetCDF, Zarr and ``.npz`` cubes."""

from __future__ import annotations

import glob
import os
from collections.abc import Collection, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stvc.aoi import Aoi, check_overlap
from stvc.errors import SourceError
from stvc.source._scenes import preferred_masks
from stvc.source.files.cubes import CubeFiles
from stvc.source.files.rasters import RasterFiles
from stvc.source.protocol import Times

if TYPE_CHECKING:
    import xarray as xr
    from shapely.geometry import Polygon

__all__ = ["FilesSource"]

_MAX_FILES = 100_000
_KINDS = {
    ".tif": "geotiff",
    ".tiff": "geotiff",
    ".jp2": "geotiff",
    ".vrt": "geotiff",
    ".nc": "netcdf",
    ".nc4": "netcdf",
    ".zarr": "zarr",
    ".npz": "npz",
}


class FilesSource:
    """Frames of a folder, a glob, a file, or several.

    Parameters
    ----------
    path : path-like or sequence of path-like
        A file; a folder of files or of SAFE folders; a SAFE folder; a Zarr store; or a pattern like
        ``images/*_B04.tif``. All must be of one kind.
    band_names : sequence of str, or str, optional
        Names of the bands in order, also as ``B02,B03``, where files do not name them.
    dn_offset : int, optional
        DN to add, 0 or -1000, whatever metadata say.
    dates_from : {"auto", "tag", "name"}
        Where a GeoTIFF's date comes from, if its tag and its name disagree.
    mask : {"scl", "clp", "mask"}
        Which mask to read if files have several.
    on_frame_error : {"raise", "skip"}
        ``skip`` leaves frames out that cannot be read wholly, and names them in
        ``attrs["incomplete"]``.

    Notes
    -----
    Nothing is resampled: files must share their pixels, but one may be cropped or shifted by whole
    pixels against another.
    """

    name = "files"

    def __init__(
        self,
        path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        band_names: Sequence[str] | str | None = None,
        dn_offset: int | str | None = None,
        dates_from: str = "auto",
        mask: str = "scl",
        on_frame_error: str = "raise",
    ) -> None:
        self._paths = [path] if isinstance(path, (str, os.PathLike)) else list(path)
        if isinstance(band_names, str):
            band_names = [name.strip() for name in band_names.split(",")]
        self._band_names = list(band_names) if band_names else None
        self._dn_offset = None if dn_offset is None else int(dn_offset)
        if dates_from not in ("auto", "tag", "name"):
            raise SourceError(f"dates_from={dates_from!r}; choose auto, tag or name")
        self._dates_from = dates_from
        if on_frame_error not in ("raise", "skip"):
            raise SourceError(f"on_frame_error={on_frame_error!r}; choose raise or skip")
        self._on_frame_error = on_frame_error
        self._masks = preferred_masks(mask)
        self._read: RasterFiles | CubeFiles | None = None

    def ground(self) -> Polygon | None:
        """Return the extent of the files in WGS84; None if they have no CRS."""
        return self._files().ground()

    def dates(self, aoi: Aoi | None, start: date | None, end: date | None) -> Times:
        """List the files' dates; see `Source.dates`."""
        return np.array([row["time"] for row in self.products(aoi, start, end)], "datetime64[s]")

    def products(
        self, aoi: Aoi | None, start: date | None, end: date | None
    ) -> list[dict[str, Any]]:
        """List frames with what they are made of.

        Returns
        -------
        list of dict
            ``time`` (datetime64[s]); ``product_id`` and ``baseline`` where names or metadata tell.
        """
        files = self._files()
        if aoi is not None:
            check_overlap(aoi, files.ground(), self.name)
        return files.frames(start, end)

    def fetch(
        self,
        aoi: Aoi | None,
        start: date | None,
        end: date | None,
        bands: Sequence[str] | None,
        exclude: Collection[np.datetime64],
        *,
        on_frame_error: str | None = None,
    ) -> xr.Dataset:
        """Read the files' frames; see `Source.fetch`. Without an area, all of their ground.

        ``on_frame_error`` is as the class takes it; None = what the class was given.
        """
        files = self._files()
        attrs: dict[str, Any] = {}
        if aoi is not None:
            check_overlap(aoi, files.ground(), self.name)
            attrs |= {"source": self.name, "aoi": aoi.geojson, "aoi_name": aoi.name}
        return files.fetch(aoi, start, end, bands, exclude, attrs, on_frame_error)

    def _files(self) -> RasterFiles | CubeFiles:
        if self._read is None:
            self._read = self._open()
        return self._read

    def _open(self) -> RasterFiles | CubeFiles:
        from stvc.source.files import geotiff, npz, opening, safe

        found = [path for given in self._paths for path in _expand(given)]
        if len(found) > _MAX_FILES:
            raise SourceError(f"{len(found)} files; name at most {_MAX_FILES} at once")
        kinds: dict[str, list[Path]] = {}
        for path in dict.fromkeys(found):
            kinds.setdefault(_kind(path), []).append(path)
        if len(kinds) > 1:
            shown = ", ".join(f"{paths[0].name} ({kind})" for kind, paths in kinds.items())
            raise SourceError(f"files of several kinds: {shown}; name one kind, as in 'DIR/*.tif'")
        ((kind, paths),) = kinds.items()
        if kind in ("geotiff", "safe"):
            scenes = [
                safe.read_scene(path, self._dn_offset)
                if kind == "safe"
                else geotiff.read_scene(
                    path,
                    band_names=self._band_names,
                    dn_offset=self._dn_offset,
                    dates_from=self._dates_from,
                )
                for path in paths
            ]
            return RasterFiles(
                scenes,
                products=kind == "safe",
                masks=self._masks,
                on_frame_error=self._on_frame_error,
            )
        open_one = {
            "netcdf": opening.open_netcdf,
            "zarr": opening.open_zarr,
            "npz": npz.open_npz,
        }[kind]
        cubes = {path: open_one(path, self._band_names) for path in paths}
        return CubeFiles(cubes, self._dn_offset, self._masks)


def _expand(given: str | os.PathLike[str]) -> list[Path]:
    """List the files that a path, a folder, or a pattern means, sorted by name."""
    from stvc.source.files.safe import is_safe

    path = Path(given)
    if path.is_file() or (path.is_dir() and (is_safe(path) or path.suffix == ".zarr")):
        return [path]
    if path.is_dir():
        inside = sorted(path.iterdir())
        known = [p for p in inside if is_safe(p) or (p.suffix.lower() in _KINDS and _visible(p))]
        if not known:
            raise SourceError(
                f"{path} holds no file that stvc reads ({', '.join(_KINDS)}, *.SAFE folders)"
            )
        return known
    # Not Path.glob, which takes no pattern that starts at the root.
    matched = [Path(match) for match in sorted(glob.glob(str(given), recursive=True))]  # noqa: PTH207
    if not matched:
        raise SourceError(f"{path} does not exist, and matches no file")
    return matched


def _visible(path: Path) -> bool:
    return not path.name.startswith(".")


def _kind(path: Path) -> str:
    from stvc.source.files.safe import is_safe

    if is_safe(path):
        return "safe"
    kind = _KINDS.get(path.suffix.lower())
    if kind is None:
        raise SourceError(f"{path} is of no kind that stvc reads ({', '.join(_KINDS)}, *.SAFE)")
    return kind
