"""The xarray backend: `xr.open_dataset(path, engine="stvc")` and `xr.open_datatree`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import xarray as xr
from xarray.backends import BackendEntrypoint

from stvc.errors import CorruptInputError
from stvc.remote import is_url

if TYPE_CHECKING:
    from stvc.xarray_backend.session import Source

SUFFIX = ".stvc"
OPTIONS_KEY = "stvc"
"""Key in a dataset's encoding: how it was opened."""


class StvcBackend(BackendEntrypoint):
    """Archives of satellite image time series as lazy datasets."""

    description = "Open stvc archives (.stvc): satellite image time series, decoded when touched"
    url = "https://pypi.org/project/stvc/"
    supports_groups = True
    open_dataset_parameters: ClassVar[tuple[str, ...]] = (
        "filename_or_obj",
        "mask_and_scale",
        "decode_times",
        "concat_characters",
        "decode_coords",
        "drop_variables",
        "use_cftime",
        "decode_timedelta",
        "group",
        "resolution",
        "fill",
        "versions",
        "storage_options",
    )

    def open_dataset(  # type: ignore[override]
        self,
        filename_or_obj: str | os.PathLike[str],
        *,
        mask_and_scale: bool | Mapping[str, bool] = True,
        decode_times: Any = True,
        concat_characters: bool | Mapping[str, bool] = True,
        decode_coords: bool | str = True,
        drop_variables: str | Iterable[str] | None = None,
        use_cftime: Any = None,
        decode_timedelta: Any = None,
        group: str | None = None,
        resolution: float | None = None,
        fill: bool | None = None,
        versions: str = "latest",
        storage_options: Mapping[str, Any] | None = None,
    ) -> xr.Dataset:
        """Open an archive; nothing is decoded before values are asked for.

        Parameters
        ----------
        filename_or_obj : str or path-like
            A path, or a URL that fsspec understands (``https://``, ``s3://``, ``memory://``,
            ``simplecache::https://``).
        mask_and_scale : bool or mapping
            True: bands are reflectance (float32, NaN = nodata) where a DN is known to be worth
            1e-4. False: DN (uint16, 0 = nodata).
        group : str, optional
            One native grid only, on dims ``(time, y, x)``: ``"r10m"``.
        resolution : float, optional
            Everything on the native grid of this pixel size: coarser bands are repeated (nearest),
            finer ones averaged over the pixels that hold something; masks of finer grids hide a
            pixel if any part of it is hidden, finer scene classes take the one at the center.
        fill : bool, optional
            What hidden pixels hold. None: what is stored. True: the codec's own prediction, and
            boolean variables ``filled`` mark those pixels. False: nodata.
        versions : {"latest", "all"}
            ``"all"`` also shows frames that a newer product has superseded.
        storage_options : mapping, optional
            For fsspec, with a URL.
        decode_times, concat_characters, decode_coords, drop_variables, use_cftime, decode_timedelta
            As of `xarray.open_dataset`.

        Returns
        -------
        xarray.Dataset
            One variable per band.

        Raises
        ------
        StvcError
            If this is no archive, or it cannot be read.
        FileNotFoundError
            If there is no such file.
        """
        from stvc.xarray_backend.variables import View

        source, contents = _contents(
            filename_or_obj, View(versions, fill, resolution), storage_options
        )
        if group is not None and resolution is not None:
            raise CorruptInputError("group and resolution exclude each other; give one of them")
        if group is None or group.strip("/") == "":
            raw = contents.whole()
        else:
            groups = contents.groups()
            if group.strip("/") not in groups:
                raise CorruptInputError(
                    f"{source.location} has no group {group!r}; it has {', '.join(groups)}"
                )
            raw = groups[group.strip("/")]
        return _decoded(
            raw,
            source,
            {"resolution": resolution, "versions": versions, "group": group},
            mask_and_scale=mask_and_scale,
            decode_times=decode_times,
            concat_characters=concat_characters,
            decode_coords=decode_coords,
            drop_variables=drop_variables,
            use_cftime=use_cftime,
            decode_timedelta=decode_timedelta,
        )

    def open_groups_as_dict(  # type: ignore[override]
        self,
        filename_or_obj: str | os.PathLike[str],
        *,
        mask_and_scale: bool | Mapping[str, bool] = True,
        decode_times: Any = True,
        concat_characters: bool | Mapping[str, bool] = True,
        decode_coords: bool | str = True,
        drop_variables: str | Iterable[str] | None = None,
        use_cftime: Any = None,
        decode_timedelta: Any = None,
        group: str | None = None,
        fill: bool | None = None,
        versions: str = "latest",
        storage_options: Mapping[str, Any] | None = None,
    ) -> dict[str, xr.Dataset]:
        """Open an archive as one dataset per native grid; see `open_dataset`.

        Returns
        -------
        dict of str to xarray.Dataset
            ``"/"`` with the archive's attributes and what is on record per date, and ``"/r10m"``,
            ``"/r20m"``, ... with bands on dims ``(time, y, x)``.
        """
        from stvc.xarray_backend.variables import View

        source, contents = _contents(filename_or_obj, View(versions, fill), storage_options)
        found = {f"/{name}": ds for name, ds in contents.groups().items()}
        if group is not None and group.strip("/"):
            wanted = "/" + group.strip("/")
            if wanted not in found:
                raise CorruptInputError(
                    f"{source.location} has no group {group!r}; it has {', '.join(found)}"
                )
            found = {"/": found[wanted]}
        else:
            first = next(iter(found.values()))
            per_date = [name for name, v in first.variables.items() if v.dims == ("time",)]
            root = first[[name for name in per_date if name in first.data_vars]]
            root = root.drop_vars([n for n in root.coords if n not in (*per_date, "time")])
            found = {"/": root} | {
                name: ds.drop_vars([n for n in per_date if n in ds.data_vars])
                for name, ds in found.items()
            }
        return {
            name: _decoded(
                raw,
                source,
                {"versions": versions, "group": name.strip("/") or group},
                mask_and_scale=mask_and_scale,
                decode_times=decode_times,
                concat_characters=concat_characters,
                decode_coords=decode_coords,
                drop_variables=drop_variables,
                use_cftime=use_cftime,
                decode_timedelta=decode_timedelta,
            )
            for name, raw in found.items()
        }

    def open_datatree(  # type: ignore[override]
        self, filename_or_obj: str | os.PathLike[str], **options: Any
    ) -> xr.DataTree:
        """Open an archive as a tree with one group per native grid; see `open_groups_as_dict`."""
        return xr.DataTree.from_dict(self.open_groups_as_dict(filename_or_obj, **options))

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Tell an archive by its suffix, and a local file of any name by its first bytes."""
        if not isinstance(filename_or_obj, (str, os.PathLike)):
            return False
        location = os.fspath(filename_or_obj)
        if not isinstance(location, str):
            return False
        if location.split("?")[0].lower().endswith(SUFFIX):
            return True
        return not is_url(location) and _is_archive(location)


def _contents(
    location: str | os.PathLike[str], view: Any, storage_options: Mapping[str, Any] | None
) -> tuple[Source, Any]:
    from stvc import accessor  # noqa: F401 - gives datasets their ``ds.stvc``
    from stvc.xarray_backend.session import open_session, session_of
    from stvc.xarray_backend.variables import Contents

    if not isinstance(location, (str, os.PathLike)):
        raise CorruptInputError(
            f"engine stvc opens a path or a URL, got {type(location).__name__}; "
            "give the archive's path, or memory://... for bytes in memory"
        )
    source = open_session(location, storage_options or {})
    return source, Contents(source, session_of(source), view)


def _decoded(
    raw: xr.Dataset,
    source: Source,
    options: Mapping[str, Any],
    *,
    drop_variables: str | Iterable[str] | None,
    **decoding: Any,
) -> xr.Dataset:
    """Apply CF decoding, as xarray does to any file."""
    from stvc.xarray_backend.session import forget

    if drop_variables is not None:
        names = [drop_variables] if isinstance(drop_variables, str) else list(drop_variables)
        raw = raw.drop_vars([name for name in names if name in raw.variables])
    ds: xr.Dataset = xr.decode_cf(raw, **decoding)
    for variable in ds.variables.values():
        for place in (variable.attrs, variable.encoding):
            if isinstance(place.get("scale_factor"), np.float32):
                # It has chosen float32 for what is in memory; on disk 1e-4 shall be 1e-4.
                place["scale_factor"] = float(str(place["scale_factor"]))
    ds.encoding["source"] = source.location
    ds.encoding[OPTIONS_KEY] = {**options, "storage_options": dict(source.options)}
    ds.set_close(partial(forget, source))
    return ds


def _is_archive(path: str) -> bool:
    from stvc.archive.layout import LARGEST_HEAD, parse_head
    from stvc.errors import StvcError

    try:
        with open(path, "rb") as file:
            parse_head(file.read(LARGEST_HEAD), path)
    except (OSError, StvcError):
        return False
    return True
