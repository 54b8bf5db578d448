"""Attributes and per-frame columns of a dataset as JSON values, and back."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Column = npt.NDArray[Any]

DTYPE_KEY = "__dtype__"
"""Key in a column's attributes: its numpy dtype, where JSON alone would bring back another one."""


def jsonable(value: Any) -> Any:
    """Turn a value into plain JSON: numpy scalars and arrays become numbers and lists.

    Parameters
    ----------
    value : Any
        Attribute or cell. What JSON cannot hold, NaN included, becomes its ``str``; NaT, None.

    Returns
    -------
    Any
        str, int, float, bool, None, or lists and dicts of them.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        # JSON has neither NaN nor infinity, and None among attributes would stop ds.to_netcdf().
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else str(value)
    if isinstance(value, np.timedelta64):
        return None if np.isnat(value) else int(value.astype(np.int64))
    if isinstance(value, np.floating):
        return jsonable(float(value))  # .item() of a long double is a long double again
    if isinstance(value, np.bool_ | np.integer):
        return jsonable(value.item())
    if isinstance(value, np.ndarray):
        return [jsonable(item) for item in value] if value.ndim else jsonable(value[()])
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [jsonable(item) for item in value]
    return str(value)


def column_to_json(column: Column) -> tuple[list[Any], str | None]:
    """Turn a per-frame column into JSON cells.

    Parameters
    ----------
    column : ndarray, (T,) of any dtype

    Returns
    -------
    list of Any
        T cells; None = missing.
    str or None
        The dtype to record, None if `column_from_json` finds it by itself.
    """
    cells = [None if _is_nan(cell) else jsonable(cell) for cell in column]
    dtype = column.dtype.newbyteorder("<").str
    default = {"i": "<i8", "f": "<f8"}.get(column.dtype.kind)
    plain = column.dtype.kind not in "iufMm" or dtype == default
    # A float column needs its dtype recorded if an infinity (a string in JSON) is among its cells.
    return cells, None if plain and not (dtype == "<f8" and _any_text(cells)) else dtype


def column_from_json(cells: list[Any], dtype: str | None) -> Column:
    """Rebuild a per-frame column.

    Parameters
    ----------
    cells : list of Any
        T cells; None = missing.
    dtype : str or None
        What `column_to_json` returned.

    Returns
    -------
    ndarray, (T,)
        Missing cells are NaN or NaT among numbers and times, and ``""`` among strings.
    """
    if dtype is not None:
        # A later append may have put other values into the column than its first dates had: then
        # the dtype no longer fits, and the cells themselves say what they are.
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            return _cast_cells(cells, np.dtype(dtype))
    present = [cell for cell in cells if cell is not None]
    if present and all(isinstance(cell, str) for cell in present):
        if not any(cell.endswith("\0") for cell in present):  # numpy strings cannot end in NUL
            return np.array(["" if cell is None else cell for cell in cells], dtype=np.str_)
    elif present and len(present) == len(cells) and all(isinstance(c, bool) for c in present):
        return np.array(cells, dtype=np.bool_)
    elif all(isinstance(cell, int | float) for cell in present):
        with contextlib.suppress(OverflowError):
            if len(present) < len(cells):
                return np.array([math.nan if c is None else c for c in cells], dtype=np.float64)
            numbers = np.array(cells)
            if numbers.dtype.kind in "iuf":
                return numbers
    objects = np.empty(len(cells), dtype=np.object_)
    objects[:] = cells
    return objects


def _cast_cells(cells: list[Any], dtype: np.dtype[Any]) -> Column:
    if dtype.kind in "Mm":
        return np.array(["NaT" if cell is None else cell for cell in cells], dtype=dtype)
    if dtype.kind == "f":
        return np.array([math.nan if cell is None else float(cell) for cell in cells], dtype=dtype)
    if dtype.kind not in "iu" or not all(type(cell) is int for cell in cells):
        raise TypeError(dtype)
    return np.array(cells, dtype=dtype)


def _is_nan(cell: Any) -> bool:
    return isinstance(cell, float | np.floating) and bool(np.isnan(cell))


def _any_text(cells: list[Any]) -> bool:
    return any(isinstance(cell, str) for cell in cells)
