"""``ds.stvc``: what an analyst does with a dataset of an archive, in one word each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from stvc.clear_pixels import MASKS, hidden_pixels
from stvc.errors import CorruptInputError
from stvc.indices import band_of, bands_of, ndvi_bound, ndvi_error, spectral_index

if TYPE_CHECKING:
    from stvc.archive_view import Archive


@xr.register_dataset_accessor("stvc")  # type: ignore[no-untyped-call]
class StvcAccessor:
    """Views of a dataset that came from an archive (most work on any dataset of such a form).

    Parameters
    ----------
    ds : xarray.Dataset
    """

    def __init__(self, ds: xr.Dataset) -> None:
        self._ds = ds

    @property
    def source(self) -> str:
        """Path or URL of the archive.

        Raises
        ------
        CorruptInputError
            If the dataset does not know; computed datasets forget.
        """
        found = self._ds.encoding.get("source")
        if not isinstance(found, str) or "stvc" not in self._ds.encoding:
            raise CorruptInputError(
                "this dataset does not know its archive any more (it was computed, or read from "
                "another file); call .stvc on what xr.open_dataset(path, engine='stvc') returned"
            )
        return found

    def info(self) -> dict[str, Any]:
        """Sizes, dates, settings and achieved errors of the whole archive; decodes nothing."""
        with self._archive() as archive:
            return archive.info()

    @property
    def bands(self) -> list[str]:
        """Names of the variables that are bands."""
        return [
            str(name)
            for name, v in self._ds.data_vars.items()
            if v.ndim >= 2 and v.dtype.kind in "uif" and name not in MASKS
        ]

    def clear(self, band: str | None = None, classes: Iterable[int | str] | None = None) -> Any:
        """Tell which pixels show the ground.

        Parameters
        ----------
        band : str, optional
            On whose grid; the first band's if not given.
        classes : iterable of int or str, optional
            Scene classes that hide the ground, as numbers or names (``"cloud_shadow"``); what the
            encoder took for hidden if not given.

        Returns
        -------
        xarray.DataArray, bool
            True = neither hidden nor nodata.
        """
        ds = self._ds
        name = self._first_band() if band is None else band
        if name not in ds.data_vars:
            raise CorruptInputError(f"no band {name!r}; there are {', '.join(self.bands)}")
        target = ds[name]
        imaged = target.notnull() if target.dtype.kind == "f" else target != 0
        hidden = hidden_pixels(self._ds, target, classes)
        clear = imaged if hidden is None else imaged & ~hidden
        clear = clear.rename("clear")
        clear.attrs = {"long_name": "pixel shows the ground"}
        return clear

    @property
    def clear_fraction(self) -> xr.DataArray:
        """(time,) share of the dataset's pixels that show the ground, on the first band's grid."""
        clear = self.clear()
        dims = [dim for dim in clear.dims if dim != "time"]
        share: xr.DataArray = clear.mean(dims).astype(np.float32)
        share.attrs = {"long_name": "share of pixels that show the ground", "units": "1"}
        return share.rename("clear_fraction")

    def mask(self, classes: Iterable[int | str] | None = None) -> xr.Dataset:
        """Turn hidden pixels into nodata: NaN in reflectance, 0 in DN.

        Parameters
        ----------
        classes : iterable of int or str, optional
            See `clear`.
        """
        ds = self._ds.copy()
        for name in self.bands:
            clear = self.clear(name, classes)
            band = ds[name]
            kept = band.where(clear) if band.dtype.kind == "f" else band.where(clear, 0)
            kept.encoding = dict(band.encoding)
            ds[name] = kept.astype(band.dtype)
        return ds

    def fill(self) -> xr.Dataset:
        """Replace hidden pixels by the codec's own prediction, and mark them.

        Returns
        -------
        xarray.Dataset
            The same dates, pixels and bands, read anew from the archive, with a boolean variable
            ``filled`` for each grid (``filled20`` on dims ``y20, x20``): True = prediction from
            earlier dates and the background, not an observation. Nodata stays nodata.
        """
        ds = self._ds
        for name in self.bands:
            self._check_untouched(name)
        options = dict(ds.encoding.get("stvc", {}))
        floats = any(ds[name].dtype.kind == "f" for name in self.bands)
        chunked = any(v.chunks for v in ds.variables.values())
        whole = xr.open_dataset(
            self.source, engine=_engine(), mask_and_scale=floats, fill=True,
            chunks={} if chunked else None, **options,
        )  # fmt: skip
        kept = [name for name in whole.data_vars if name in ds.data_vars]
        dims = {dim for name in kept for dim in whole[name].dims}
        marks = [
            name
            for name in whole.data_vars
            if str(name).startswith("filled") and set(whole[name].dims) <= dims
        ]
        found = whole[[*kept, *marks]]
        for dim in [d for d in found.dims if d not in ds.dims]:
            if dim not in ds.coords:
                raise CorruptInputError(f"cannot tell which {dim} were chosen; fill first")
            found = found.sel({dim: ds[dim].values})
        for dim in [d for d in found.dims if d in ds.dims]:
            if dim in found.indexes and dim in ds.indexes:
                position = found.indexes[dim].get_indexer_for(ds.indexes[dim])
                if len(position) != ds.sizes[dim] or (position < 0).any():
                    raise CorruptInputError(
                        f"the dataset's {dim} are not those of {self.source}; fill first, then "
                        "compute"
                    )
                if not np.array_equal(position, np.arange(found.sizes[dim])):
                    found = found.isel({dim: position})
            elif found.sizes[dim] != ds.sizes[dim]:
                raise CorruptInputError(
                    f"{dim} has no coordinates, so that a part of it cannot be found again; fill "
                    "first, then select"
                )
        return found

    def index(self, name: str, *, clear_only: bool = True, **constants: float) -> xr.DataArray:
        """Compute a spectral index: see `stvc.indices.spectral_index`.

        Parameters
        ----------
        name : str
            ``NDVI``, ``NDWI``, ``EVI``; any other with spyndex.
        clear_only : bool
            NaN where the mask hides the ground.
        """
        index = spectral_index(self._ds, name, **constants)
        hidden = hidden_pixels(self._ds, index) if clear_only else None
        return index if hidden is None else index.where(~hidden)

    def ndvi(self, *, error: bool = True, clear_only: bool = True) -> xr.Dataset | xr.DataArray:
        """Compute NDVI, with an error bar from what the archive has on record.

        Parameters
        ----------
        error : bool
            False: NDVI alone, as a DataArray; works without the archive.
        clear_only : bool
            NaN where the mask hides the ground: no error is on record there.

        Returns
        -------
        xarray.Dataset
            ``ndvi``; ``ndvi_error``, one standard deviation: ``2 s sqrt(n**2 + r**2) /
            (n + r)**2`` with the frame's root mean square error s of both bands; ``ndvi_bound``,
            which no clear pixel exceeds, from the frame's largest error.
        """
        ndvi = self.index("NDVI", clear_only=clear_only)
        if not error:
            return ndvi
        rmse, largest = self._errors(str(band_of(self._ds, "nir")))
        rmse_red, largest_red = self._errors(str(band_of(self._ds, "red")))
        bands = bands_of(self._ds, "NDVI", ("nir", "red"))
        seen = ndvi.notnull()
        rms = np.sqrt((rmse**2 + rmse_red**2) / 2)
        bar = ndvi_error(bands["nir"], bands["red"], rms).where(seen)
        bound = ndvi_bound(bands["nir"], bands["red"], np.maximum(largest, largest_red))
        bound = bound.where(seen)
        bar.attrs = {"long_name": "NDVI error, one standard deviation", "units": "1"}
        bound.attrs = {"long_name": "NDVI error that no clear pixel exceeds", "units": "1"}
        found = xr.Dataset({"ndvi": ndvi, "ndvi_error": bar, "ndvi_bound": bound})
        found["ndvi"].attrs["ancillary_variables"] = "ndvi_error ndvi_bound"
        return found

    def errors(self) -> xr.Dataset:
        """Achieved error of each date: ``rmse_BAND`` and ``max_error_BAND`` (time,), in DN.

        NaN where nothing was clear. All bands of one native resolution share their values.
        """
        found = {}
        for band in self.bands:
            rmse, largest = self._errors(band, unit=1.0)
            found[f"rmse_{band}"], found[f"max_error_{band}"] = rmse, largest
        return xr.Dataset(found)

    def zonal(self, parcels: Any, variable: str | xr.DataArray = "NDVI", **options: Any) -> Any:
        """Average over parcels: see `stvc.zonal.zonal_means`."""
        from stvc.zonal import zonal_means

        return zonal_means(self._ds, parcels, variable, **options)

    def quicklook(
        self, time: Any = None, *, bands: Iterable[str] | None = None, ax: Any = None
    ) -> Any:
        """Draw one date in true color (or the first band in gray), hidden pixels veiled.

        Parameters
        ----------
        time : date-like, optional
            The nearest date is shown; the clearest of the last ten if not given.
        bands : iterable of str, optional
            Three bands for red, green and blue.
        ax : matplotlib Axes, optional

        Returns
        -------
        matplotlib Axes
        """
        from stvc.quicklook_axes import draw_date

        return draw_date(self._ds, time, bands, ax)

    def _repr_html_(self) -> str:
        with self._archive() as archive:
            return archive._repr_html_()

    def _archive(self) -> Archive:
        from stvc.archive_view import Archive

        options = self._ds.encoding.get("stvc", {}).get("storage_options")
        return Archive(self.source, storage_options=options)

    def _check_untouched(self, band: str) -> None:
        """Refuse a band whose values are no longer the archive's: computing drops its encoding."""
        if self._ds[band].encoding.get("source") != self.source:
            raise CorruptInputError(
                f"{band} was computed, so that {self.source} has nothing on record of it; call "
                "this first, then compute"
            )

    def _first_band(self) -> str:
        if not self.bands:
            raise CorruptInputError("the dataset has no band")
        return band_of(self._ds, "red") or self.bands[0]

    def _errors(self, band: str, unit: float | None = None) -> tuple[Any, Any]:
        """Achieved error of a band per date (time,): rms and largest, in reflectance."""
        from stvc.frame_errors import frame_errors

        self._check_untouched(band)
        rmse, largest = frame_errors(self._archive(), self._ds["time"].values, band)
        if unit is None:
            attrs = {**self._ds[band].attrs, **self._ds[band].encoding}
            unit = float(attrs.get("scale_factor", 1e-4))
        coords = {"time": self._ds["time"]} if "time" in self._ds.dims else {}
        dims = ("time",) if coords else ()

        def array(values: Any) -> xr.DataArray:
            return xr.DataArray((values * unit).reshape(-1 if dims else ()), coords, dims)

        return array(rmse), array(largest)


def _engine() -> Any:
    from stvc.xarray_backend import StvcBackend

    return StvcBackend
