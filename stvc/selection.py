"""Which acquisition times a date, a range or a list of dates selects."""

from __future__ import annotations

from typing import Any

import numpy as np

from stvc.errors import CorruptInputError

_CALENDAR_UNITS = ("Y", "M", "W", "D", "h", "m")


def is_selected(seconds: int, time: Any) -> bool:
    """Tell whether an acquisition is selected.

    Parameters
    ----------
    seconds : int
        Since 1970 UTC.
    time : date-like, slice of date-likes, sequence of date-likes, or None
        A day, month or year means all of it; None selects everything.

    Raises
    ------
    CorruptInputError
        If something is not a date.
    """
    if time is None:
        return True
    moment = np.datetime64(int(seconds), "s")
    if isinstance(time, slice):
        if time.start is not None and moment < _span(time.start)[0]:
            return False
        return time.stop is None or bool(moment <= _span(time.stop)[1])
    if isinstance(time, (list, tuple, set, np.ndarray)):
        return any(is_selected(seconds, t) for t in time)
    first, last = _span(time)
    return bool(first <= moment <= last)


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
