"""Which mask steers the bits, as users choose it: method, classes, threshold, dilation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stvc.errors import CorruptInputError, QualityError
from stvc.masks.rule import (
    CLP_THRESHOLD,
    GROW_KEY,
    HIDDEN_KEY,
    MAX_GROW,
    OCM_MEANINGS,
    VARIABLES,
    MaskRule,
    read_values,
)

if TYPE_CHECKING:
    import xarray as xr

METHODS = ("scl", "clp", "file", "omnicloudmask", "s2cloudless", "none")
"""What `MaskChoice.method` may be."""

_VARIABLE_OF = {
    "scl": "SCL",
    "clp": "CLP",
    "file": "mask",
    "omnicloudmask": "OCM",
    "s2cloudless": "CLP",
}
METHOD_KEY = "mask_method"
"""Attribute of a mask variable: how it was made, where the source did not bring it along."""


@dataclass(frozen=True)
class MaskChoice:
    """What a user asked for."""

    method: str | None = None
    """One of `METHODS`; None = the mask that the source brings along, if any."""
    classes: str | None = None
    """Values that hide the ground, ``3,8-10``; None = the usual ones."""
    threshold: int | None = None
    """Cloud probability, 0 to 255, from which a pixel is hidden."""
    dilate: float | None = None
    """In meters: ground this near to a hidden pixel is hidden too."""
    file: Path | None = None
    """Raster of hidden ground, for ``file``; other than 0 = hidden."""
    weights: Path | None = None
    """Where a classifier's weights lie; they are never downloaded."""

    def __post_init__(self) -> None:
        if self.method is not None and self.method not in METHODS:
            raise QualityError(f"mask {self.method!r}; choose from {', '.join(METHODS)}")
        if self.method == "file" and self.file is None:
            raise QualityError("mask file needs the raster's path: --mask-file RASTER")
        if self.file is not None and self.method != "file":
            raise QualityError("--mask-file is used with --mask file only; say --mask file")
        if self.weights is not None and self.method not in ("omnicloudmask", "s2cloudless"):
            raise QualityError(
                "--mask-weights is used with --mask omnicloudmask and --mask s2cloudless only"
            )
        if self.threshold is not None and self.method not in ("clp", "s2cloudless"):
            raise QualityError("--mask-threshold is used with --mask clp and --mask s2cloudless")
        if self.threshold is not None and not 1 <= self.threshold <= 255:
            raise QualityError(f"mask threshold {self.threshold}; choose 1 to 255 (102 = 0.4)")
        if self.classes is not None and self.method in ("clp", "s2cloudless", "file", "none"):
            raise QualityError(f"--mask-classes does not go with --mask {self.method}")
        if self.dilate is not None and not 0 <= self.dilate <= 10_000:
            raise QualityError(f"mask dilation {self.dilate:g} m; choose 0 to 10000 m")
        if self.method == "none" and self.dilate:
            raise QualityError("--mask-dilate has nothing to dilate with --mask none")

    @property
    def given(self) -> bool:
        """Whether anything was asked for."""
        return any(value is not None for value in vars(self).values())

    @property
    def variable(self) -> str | None:
        """The mask variable that the method makes or needs; None = whichever there is."""
        return None if self.method is None else _VARIABLE_OF.get(self.method, "none")


def choose_mask(ds: xr.Dataset, choice: MaskChoice) -> xr.Dataset:
    """Leave one mask in a dataset, made and ruled as asked.

    Parameters
    ----------
    ds : xarray.Dataset
        Frames of a source, on any grids.
    choice : MaskChoice

    Returns
    -------
    xarray.Dataset
        The same bands, and at most one variable of `stvc.masks.VARIABLES`, whose attributes carry
        the rule where it is not the usual one. Archives keep values and rule, so that others can
        be applied afterwards.

    Raises
    ------
    QualityError
        If the choice does not suit the dataset.
    SourceError
        If an optional package, weights, or a raster are missing.
    """
    held = [name for name in VARIABLES if name in ds.data_vars]
    if choice.method == "none":
        return ds.drop_vars(held)
    if choice.method in (None, "scl", "clp"):
        if not held and not choice.given:
            return ds
        if not held and choice.method is None:
            raise QualityError(
                "there is no mask to choose classes of or to dilate; say which to make: "
                "--mask file, omnicloudmask or s2cloudless"
            )
        name = choice.variable or held[0]
        if name not in held:
            raise QualityError(
                f"the frames have no {name} (they have {', '.join(held) or 'no mask'}); choose "
                "another --mask"
            )
    else:
        made = _made(ds, choice)
        name = str(made.name)
        ds = ds.drop_vars([other for other in held if other != name]).assign({name: made})
        held = [name]
    ds = ds.drop_vars([other for other in held if other != name])
    if not choice.given:
        return ds
    attrs = {k: v for k, v in ds[name].attrs.items() if k not in (HIDDEN_KEY, GROW_KEY)}
    ds = ds.assign({name: ds[name].copy(deep=False)})
    ds[name].attrs = attrs | _rule(ds, name, choice).attrs
    return ds


def rule_conflict(kind: str, choice: MaskChoice) -> str | None:
    """Tell what of a choice contradicts the rule that an archive has.

    Parameters
    ----------
    kind : str
        The archive's, as `MaskRule.parse` reads it.
    choice : MaskChoice

    Returns
    -------
    str or None
        The flag in question. Dilation is compared by `append`, which knows the pixel size.
    """
    rule = MaskRule.parse(kind)
    if choice.variable is not None and choice.variable != rule.variable:
        return f"--mask {choice.method}"
    if choice.classes is not None and _values(rule.variable, choice) != rule.values:
        return f"--mask-classes {choice.classes}"
    if choice.threshold is not None and _values(rule.variable, choice) != rule.values:
        return f"--mask-threshold {choice.threshold}"
    return None


def _values(name: str, choice: MaskChoice) -> frozenset[int]:
    if choice.classes is not None:
        try:
            return read_values(choice.classes, "--mask-classes")
        except CorruptInputError as error:
            raise QualityError(str(error)) from error
    if name == "CLP":
        return frozenset(range(choice.threshold or CLP_THRESHOLD, 256))
    return MaskRule.usual(name).values


def _rule(ds: xr.Dataset, name: str, choice: MaskChoice) -> MaskRule:
    grow = 0.0
    if choice.dilate:
        pixel = _pixel_size(ds, name)
        grow = float(f"{choice.dilate / pixel:.6g}")
        if grow > MAX_GROW:
            raise QualityError(
                f"mask dilation {choice.dilate:g} m is {grow:g} pixels of {pixel:g} m; choose at "
                f"most {MAX_GROW * pixel:g} m"
            )
    return MaskRule(name, _values(name, choice), grow)


def _pixel_size(ds: xr.Dataset, name: str) -> float:
    """Pixel size of a mask in meters."""
    from pyproj import CRS

    from stvc._dataset_rules import find_grid_mapping
    from stvc.grid import crs_wkt_of

    mapping = find_grid_mapping(ds)
    crs = crs_wkt_of(ds.variables[mapping[0]].attrs) if mapping else ""
    factor = 1.0
    if crs:
        axis = CRS.from_user_input(crs).axis_info[0]
        if axis.unit_name not in ("metre", "meter", "m", "US survey foot", "foot"):
            raise QualityError(
                f"a mask cannot be dilated by meters: its coordinates are in {axis.unit_name}; "
                "warp the frames to a metric CRS such as UTM"
            )
        factor = float(axis.unit_conversion_factor)
    for dim in ds[name].dims[1:]:
        if dim in ds.variables and ds.sizes[dim] > 1:
            at: Any = ds[dim].values
            return abs(float(at[-1]) - float(at[0])) / (len(at) - 1) * factor
    raise QualityError("a mask without coordinates cannot be dilated by meters; give it x and y")


def _made(ds: xr.Dataset, choice: MaskChoice) -> xr.DataArray:
    """Make the mask of a method that the source knows nothing of."""
    if choice.method == "file":
        from stvc.masks.raster import mask_from_raster

        assert choice.file is not None
        return mask_from_raster(ds, choice.file)
    from stvc.masks import classifiers

    if choice.method == "omnicloudmask":
        made = classifiers.omnicloudmask(ds, choice.weights)
        made.attrs = {
            METHOD_KEY: "omnicloudmask",
            "flag_values": np.arange(len(OCM_MEANINGS), dtype=np.uint8).tolist(),
            "flag_meanings": " ".join(OCM_MEANINGS),
        }
        return made
    made = classifiers.s2cloudless(ds, choice.weights)
    made.attrs = {METHOD_KEY: "s2cloudless", "long_name": "cloud probability, 255 = certain"}
    return made
