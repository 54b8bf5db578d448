"""Which acquisition times a date, a range or a list of dates selects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from stvc.errors import CorruptInputError

_CALENDAR_UNITS = ("Y", "M", "W", "D", "h", "m")


def selected(seconds: Sequence[int], time: Any) -> npt.NDArray[np.bool_]:
    """Tell which acquisitions are selected.

    Parameters
    ----------
    seconds : sequence of int
        N acquisitions, since 1970 UTC.
    time : date-like, slice of date-likes, sequence of date-likes, or None
        A day, month or year means all of it; None selects everything.

    Returns
    -------
    array, (N,) bool

    Raises
    ------
    CorruptInputError
        If something is not a date.
    """
    return _within(np.array(seconds, np.int64).astype("datetime64[s]"), time)


def _within(moments: npt.NDArray[np.datetime64], time: Any) -> npt.NDArray[np.bool_]:
    if time is None:
        return np.ones(len(moments), bool)
    if isinstance(time, slice):
        found = np.ones(len(moments), bool)
        if time.start is not None:
            found &= moments >= _span(time.start)[0]
        if time.stop is not None:
            found &= moments <= _span(time.stop)[1]
        return found
    if isinstance(time, (list, tuple, set, np.ndarray)):
        found = np.zeros(len(moments), bool)
        for one in time:
            found |= _within(moments, one)
        return found
    first, last = _span(time)
    return (first <= moments) & (moments <= last)


def _span(when: Any) -> tuple[np.datetime64, np.datetime64]:
    """First and last second of a date-like."""
    try:
        value = np.datetime64(when)
        first = value.astype("datetime64[s]")
    except (ValueError, TypeError):
        raise CorruptInputError(f"{when!r} is not a date; write for example 2019-06-01") from None
    if np.isnat(first):
        raise CorruptInputError(f"{when!r} is not a date; write for example 2019-06-01")
    if np.datetime_data(value.dtype)[0] in _CALENDAR_UNITS:
        return first, (value + 1).astype("datetime64[s]") - np.timedelta64(1, "s")
    return first, first
