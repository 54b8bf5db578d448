"""Cloud classifiers as optional extras; their weights are given by path and never downloaded."""

from __future__ import annotations

import csv
from importlib import import_module, resources
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stvc.bands import named_like
from stvc.errors import QualityError, SourceError
from stvc.masks.grids import axis_spans
from stvc.masks.rule import VARIABLES
from stvc.radiometry import SCALE

if TYPE_CHECKING:
    import xarray as xr

F64 = npt.NDArray[np.float64]

_INSTALL = "pip install 'stvc[masks]'"
_LEAST_BYTES = 1 << 20
# ^ omnicloudmask takes a smaller file for a broken download, and fetches it again.
_S2CLOUDLESS = (
    "coastal",
    "blue",
    "red",
    "rededge071",
    "nir",
    "nir08",
    "nir09",
    "cirrus",
    "swir16",
    "swir22",
)


def omnicloudmask(ds: xr.Dataset, weights: Path | None) -> xr.DataArray:
    """Classify clouds and their shadows by OmniCloudMask.

    Parameters
    ----------
    ds : xarray.Dataset
        With red, green and near infrared on one grid of 10 to 50 m.
    weights : Path or None
        Folder with the model files of one version of OmniCloudMask.

    Returns
    -------
    xarray.DataArray, (T, H, W) uint8
        Named ``OCM``: 0 clear, 1 thick cloud, 2 thin cloud, 3 cloud shadow.

    Raises
    ------
    QualityError
        If a band is missing.
    SourceError
        If the package or its weights are not there.
    """
    package = _package("omnicloudmask")
    version = _version_in(weights)
    names = _bands(ds, ("red", "green", "nir"))
    if len({ds[name].dims for name in names}) > 1:
        names = _bands(ds, ("red", "green", "nir08"))
        if len({ds[name].dims for name in names}) > 1:
            raise QualityError("mask omnicloudmask needs red, green and near infrared on one grid")
    first = ds[names[0]]
    classes = np.zeros(first.shape, np.uint8)
    for frame in range(first.shape[0]):
        stack = np.stack([ds[name].values[frame] for name in names]).astype(np.float32)
        if stack.any():
            made = package.predict_from_array(
                stack, destination_model_dir=weights, model_version=version, no_data_value=0
            )
            classes[frame] = np.asarray(made).reshape(first.shape[1:])
    return _like(first, classes, "OCM")


def _version_in(weights: Path | None) -> float:
    """Find the newest version of OmniCloudMask whose files are all in a folder."""
    if weights is None:
        raise SourceError(
            "mask omnicloudmask needs its weights, which stvc does not download: give their folder "
            "with --mask-weights DIR"
        )
    listing = resources.files("omnicloudmask") / "model_download_links.csv"
    files: dict[float, list[str]] = {}
    for row in csv.DictReader(listing.read_text().splitlines()):
        files.setdefault(float(row["version"]), []).append(row["file_name"])
    for version in sorted(files, reverse=True):
        paths = [weights / name for name in files[version]]
        if all(path.is_file() and path.stat().st_size > _LEAST_BYTES for path in paths):
            return version
    newest = ", ".join(files[max(files)]) if files else "nothing"
    raise SourceError(
        f"{weights} does not hold the weights of any version of OmniCloudMask; the newest are "
        f"{newest}"
    )


def s2cloudless(ds: xr.Dataset, weights: Path | None) -> xr.DataArray:
    """Tell the probability of clouds by s2cloudless.

    Parameters
    ----------
    ds : xarray.Dataset
        L1C with B01, B02, B04, B05, B08, B8A, B09, B10, B11 and B12; L2A has no B10.
    weights : Path or None
        Another model file than the one inside the package.

    Returns
    -------
    xarray.DataArray, (T, H, W) uint8
        Named ``CLP``: 0 to 255, on the grid of B10 (60 m, to which finer bands are averaged);
        255 also where nothing was imaged.

    Raises
    ------
    QualityError
        If a band is missing.
    SourceError
        If the package or its weights are not there.
    """
    package = _package("s2cloudless")
    if weights is not None and not weights.is_file():
        raise SourceError(f"{weights} is no file; --mask-weights names s2cloudless's model file")
    names = _bands(ds, _S2CLOUDLESS, "which L2A lacks: it has no B10")
    onto = ds[names[_S2CLOUDLESS.index("cirrus")]]
    detector: Any = package.S2PixelCloudDetector(
        all_bands=False,
        average_over=None,
        dilation_size=None,
        model_filename=None if weights is None else str(weights),
    )
    stack = np.stack([_averaged(ds, name, onto) for name in names], axis=-1)
    probability = detector.get_cloud_probability_maps(stack / SCALE)
    values = np.rint(np.clip(probability, 0, 1) * 255)
    return _like(onto, np.where((stack == 0).all(axis=-1), 255, values).astype(np.uint8), "CLP")


def _package(name: str) -> Any:
    if find_spec(name) is None:
        raise SourceError(f"mask {name} needs a package that is not installed: {_INSTALL}")
    try:
        return import_module(name)
    except ImportError as error:
        raise SourceError(f"mask {name}: its package does not load: {error}") from error


def _bands(ds: xr.Dataset, common: tuple[str, ...], why: str = "") -> list[str]:
    held = [str(n) for n, v in ds.data_vars.items() if v.ndim == 3 and n not in VARIABLES]
    found = [named_like(name, held) for name in common]
    lacking = [name for name, band in zip(common, found, strict=True) if band is None]
    if lacking:
        raise QualityError(
            f"the mask needs the band {', '.join(lacking)}{', ' + why if why else ''}; the frames "
            f"have {', '.join(held)}"
        )
    return [band for band in found if band is not None]


def _averaged(ds: xr.Dataset, name: str, onto: xr.DataArray) -> F64:
    """Bring a band to another grid: means of finer pixels, repeats of coarser ones."""
    values = ds[name].values.astype(np.float64)
    for axis, dim in ((1, ds[name].dims[1]), (2, ds[name].dims[2])):
        fine = ds[dim].values.astype(np.float64)
        coarse = onto[onto.dims[axis]].values.astype(np.float64)
        size = abs(float(coarse[-1] - coarse[0])) / (len(coarse) - 1) if len(coarse) > 1 else None
        first, stop = axis_spans(fine, coarse, size)
        sums = np.concatenate(
            [np.zeros_like(np.take(values, [0], axis)), np.cumsum(values, axis)], axis
        )
        shape = [1, 1, 1]
        shape[axis] = -1
        values = (np.take(sums, stop, axis) - np.take(sums, first, axis)) / (stop - first).reshape(
            shape
        )
    return values


def _like(band: xr.DataArray, values: npt.NDArray[np.uint8], name: str) -> xr.DataArray:
    made = band.copy(data=values)
    made.name, made.attrs = name, {}
    return made
