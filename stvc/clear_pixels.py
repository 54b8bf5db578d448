"""Which pixels of a dataset its mask hides, on any band's grid, by any classes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import xarray as xr

from stvc.errors import CorruptInputError
from stvc.masks import SCL_MEANINGS, VARIABLES, MaskRule, hidden_on_grid
from stvc.types import GroupGrid, MaskGrid

MASKS = VARIABLES
"""Variables that are masks, not bands."""


def hidden_pixels(
    ds: xr.Dataset, target: xr.DataArray, classes: Iterable[int | str] | None = None
) -> xr.DataArray | None:
    """Tell which pixels a dataset's mask hides, on a band's grid.

    Parameters
    ----------
    ds : xarray.Dataset
    target : xarray.DataArray
        Gives the grid by its last two dims.
    classes : iterable of int or str, optional
        Scene classes that hide the ground; those that the encoder goes by if not given.

    Returns
    -------
    xarray.DataArray, bool
        None if the dataset has no mask.

    Raises
    ------
    CorruptInputError
        If classes are given and the mask has none, or there is no such class.
    """
    kind = next((name for name in MASKS if name in ds.variables), None)
    if kind is None:
        if classes is not None:
            raise CorruptInputError("classes are given, and the dataset has no mask")
        return None
    mask = ds[kind]
    if kind == "mask":
        if classes is not None:
            raise CorruptInputError("the mask is boolean: it has no classes to choose from")
        hidden = mask.astype(bool)
    else:
        hidden = _by_rule(mask) if classes is None else mask.isin(_class_numbers(classes))
    plane, grid = _plane(mask), _plane(target)
    return hidden if plane == grid else _on_grid(hidden, plane, target, grid)


def _by_rule(mask: xr.DataArray) -> xr.DataArray:
    """Hidden pixels by the rule that the mask's attributes tell, as the encoder applied it."""
    rule = MaskRule.of_attrs(str(mask.name), mask.attrs)

    def hidden(classes: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        frames = classes.reshape(-1, *classes.shape[-2:]).astype(np.uint8)
        return rule.hidden(frames).reshape(classes.shape)

    plane = list(_plane(mask))
    found: xr.DataArray = xr.apply_ufunc(
        hidden,
        mask,
        input_core_dims=[plane],
        output_core_dims=[plane],
        dask="parallelized",
        output_dtypes=[bool],
    )
    return found


def _class_numbers(classes: Iterable[int | str]) -> list[int]:
    if isinstance(classes, (str, int)):
        classes = [classes]
    numbers = []
    for entry in classes:
        if isinstance(entry, str):
            if entry not in SCL_MEANINGS:
                raise CorruptInputError(
                    f"no scene class {entry!r}; there are {', '.join(SCL_MEANINGS)}"
                )
            numbers.append(SCL_MEANINGS.index(entry))
        else:
            numbers.append(int(entry))
    return numbers


def _plane(array: xr.DataArray) -> tuple[str, str]:
    y, x = (str(dim) for dim in array.dims[-2:])
    return y, x


def _on_grid(
    hidden: xr.DataArray, plane: tuple[str, str], target: xr.DataArray, grid: tuple[str, str]
) -> xr.DataArray:
    """Bring hidden pixels to another grid by the codec's own rule."""

    def centers(array: xr.DataArray, dim: str) -> np.ndarray[Any, Any]:
        return np.asarray(array[dim].values, np.float64)  # xarray counts where there are none

    mask_grid = MaskGrid("mask", "", centers(hidden, plane[0]), centers(hidden, plane[1]))
    band_grid = GroupGrid("", ("",), centers(target, grid[0]), centers(target, grid[1]))

    def spread(flags: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        frames = flags.reshape(-1, *flags.shape[-2:])
        shape = (*flags.shape[:-2], *band_grid.shape[1:])
        return hidden_on_grid(frames, mask_grid, band_grid).reshape(shape)

    sizes = dict(zip(grid, band_grid.shape[1:], strict=True))
    spread_out = xr.apply_ufunc(
        spread,
        hidden,
        input_core_dims=[list(plane)],
        output_core_dims=[list(grid)],
        exclude_dims=set(plane),
        dask="parallelized",
        dask_gufunc_kwargs={"output_sizes": sizes, "allow_rechunk": True},
        output_dtypes=[np.bool_],
    )
    placed: xr.DataArray = spread_out.assign_coords(
        {d: target[d] for d in grid if d in target.coords}
    )
    return placed
