"""Dates and bands as file names tell them."""

from __future__ import annotations

import re

import numpy as np

from stvc.bands import find_band
from stvc.source._scenes import MASKS

_MOMENT = re.compile(
    r"(?<!\d)(?P<y>(?:19|20)\d\d)(?P<dash>[-_.:]?)(?P<m>0[1-9]|1[0-2])(?P=dash)"
    r"(?P<d>0[1-9]|[12]\d|3[01])"
    r"(?:[T_ -](?P<H>[01]\d|2[0-3])[-:]?(?P<M>[0-5]\d)[-:]?(?P<S>[0-5]\d))?(?!\d)"
)
_YEARDAY = re.compile(r"(?<!\d)(?P<y>(?:19|20)\d\d)[-_.]?(?P<j>[0-3]\d\d)(?!\d)")
_WORDS = re.compile(r"[^A-Za-z0-9]+")


def moment_in(text: str) -> np.datetime64 | None:
    """Find the first date, with or without a time of day, in a text.

    Parameters
    ----------
    text : str
        Such as ``S2A_31UFS_20200101T105031_B04``, ``2020-01-01``, ``2020001``.

    Returns
    -------
    datetime64[s] or None
        None if there is no date in it, or one that the calendar does not have.
    """
    for match in _MOMENT.finditer(text):
        clock = f"{match['H'] or '00'}:{match['M'] or '00'}:{match['S'] or '00'}"
        try:
            return np.datetime64(f"{match['y']}-{match['m']}-{match['d']}T{clock}", "s")
        except ValueError:  # 31 February
            continue
    for match in _YEARDAY.finditer(text):
        if 1 <= int(match["j"]) <= 366:
            first = np.datetime64(f"{match['y']}-01-01T00:00:00", "s")
            return first + np.timedelta64(int(match["j"]) - 1, "D")
    return None


def tidy_band(name: str) -> str:
    """Spell a band as stvc does if it is Sentinel-2's or a mask, else leave it as it is."""
    for mask in MASKS:
        if name.lower() == mask.lower():
            return mask
    band = find_band(name)
    return name if band is None else band.name


def band_in(stem: str) -> str | None:
    """Find the band or mask that a file's name ends with, or holds.

    Parameters
    ----------
    stem : str
        Such as ``T31UFS_20200101T105031_B04_10m``.

    Returns
    -------
    str or None
    """
    words = [word for word in _WORDS.split(stem) if word]
    for word in reversed(words):
        tidied = tidy_band(word)
        if tidied in MASKS or find_band(word) is not None:
            return tidied
    return None
