"""Which mask values hide the ground, and how far they reach: the rule that an archive records.

The values themselves are stored without loss, so a rule can be changed afterwards by whoever reads
them. Encoder and decoder both apply the rule that the archive's header names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from stvc.errors import CorruptInputError
from stvc.masks.growth import grown
from stvc.masks.lookup import looked_up
from stvc.types import U8

Bool = npt.NDArray[np.bool_]

VARIABLES = ("SCL", "mask", "CLP", "OCM")
"""Variables that are mask values, not bands; the first of them in a dataset goes first."""

KINDS = (*VARIABLES, "none")
"""Mask variables that an archive may name."""

OCM_MEANINGS = ("clear", "thick_cloud", "thin_cloud", "cloud_shadow")
"""Classes 0 to 3 of OmniCloudMask."""

SCL_MEANINGS = (
    "no_data",
    "saturated_or_defective",
    "dark_area_or_topographic_shadow",
    "cloud_shadow",
    "vegetation",
    "not_vegetated",
    "water",
    "unclassified",
    "cloud_medium_probability",
    "cloud_high_probability",
    "thin_cirrus",
    "snow_or_ice",
)
"""Sentinel-2 scene classes 0 to 11, as CF ``flag_meanings`` words."""

SCL_UNCLEAR = frozenset({0, 1, 3, 8, 9, 10})
"""Scene classes that hide the ground: nodata, defective, cloud shadow, clouds, cirrus."""

CLP_THRESHOLD = 102
"""Cloud probability (0 to 255) from which a pixel is hidden: 0.4, as s2cloudless has it."""

HIDDEN_KEY = "hidden_values"
"""Attribute of a mask variable: the values that hide the ground, ``0,1,3,8-10``."""

GROW_KEY = "hidden_grow_pixels"
"""Attribute of a mask variable: how far hidden pixels reach, in pixels of the mask."""

MAX_GROW = 64.0
"""Farthest reach that is accepted, in pixels; a header must not ask for hours of work."""

_USUAL: Mapping[str, frozenset[int]] = {
    "SCL": SCL_UNCLEAR,
    "mask": frozenset(range(1, 256)),
    "CLP": frozenset(range(CLP_THRESHOLD, 256)),
    "OCM": frozenset({1, 2, 3}),
    "none": frozenset(),
}


@dataclass(frozen=True)
class MaskRule:
    """A mask variable, its values that hide the ground, and their reach."""

    variable: str
    """One of `KINDS`."""
    values: frozenset[int]
    """Values from 0 to 255 that hide a pixel."""
    grow: float = 0.0
    """Pixels of the mask within this distance of a hidden one are hidden too."""

    @classmethod
    def usual(cls, variable: str) -> MaskRule:
        """Return the rule of a variable for which nothing else was asked.

        Raises
        ------
        CorruptInputError
            If there is no such mask variable.
        """
        if variable not in _USUAL:
            raise CorruptInputError(
                f"mask kind {variable!r} is unknown; this stvc knows {', '.join(KINDS)}: "
                "install a newer one"
            )
        return cls(variable, _USUAL[variable])

    @classmethod
    def parse(cls, kind: str) -> MaskRule:
        """Read a rule as archives spell it.

        Parameters
        ----------
        kind : str
            ``SCL``, or ``SCL;hide=3,8-10;grow=2.5`` where it is not the usual one.

        Returns
        -------
        MaskRule

        Raises
        ------
        CorruptInputError
            If it is not of that form.
        """
        variable, *parts = kind.split(";")
        rule = cls.usual(variable)
        for part in parts:
            key, _, text = part.partition("=")
            if key == "hide":
                rule = replace(rule, values=read_values(text, kind))
            elif key == "grow":
                rule = replace(rule, grow=read_grow(text, kind))
            else:
                raise CorruptInputError(
                    f"mask kind {kind!r} asks for {part!r}, which this stvc does not know: "
                    "install a newer one"
                )
        return rule

    @classmethod
    def of_attrs(cls, variable: str, attrs: Mapping[Any, Any]) -> MaskRule:
        """Read a rule from the attributes of a dataset's mask variable.

        Parameters
        ----------
        variable : str
            One of `KINDS`.
        attrs : mapping
            May hold `HIDDEN_KEY` and `GROW_KEY`; others do not matter.

        Returns
        -------
        MaskRule

        Raises
        ------
        CorruptInputError
            If an attribute is not of the right form.
        """
        rule = cls.usual(variable)
        if HIDDEN_KEY in attrs:
            where = f"attribute {HIDDEN_KEY} of {variable}"
            rule = replace(rule, values=read_values(_listed(attrs[HIDDEN_KEY]), where))
        if GROW_KEY in attrs:
            where = f"attribute {GROW_KEY} of {variable}"
            rule = replace(rule, grow=read_grow(str(attrs[GROW_KEY]), where))
        return rule

    @property
    def kind(self) -> str:
        """The rule as archives spell it; equal rules are spelled alike."""
        text = self.variable
        if self.values != _USUAL[self.variable]:
            text += f";hide={spell_values(self.values)}"
        return text + (f";grow={self.grow:g}" if self.grow else "")

    @property
    def attrs(self) -> dict[str, Any]:
        """The rule as attributes of the mask variable; none if it is the usual one."""
        attrs: dict[str, Any] = {}
        if self.values != _USUAL[self.variable]:
            attrs[HIDDEN_KEY] = spell_values(self.values)
        if self.grow:
            attrs[GROW_KEY] = self.grow
        return attrs

    def hidden(self, classes: U8) -> Bool:
        """Apply the rule.

        Parameters
        ----------
        classes : ndarray, (T, Hm, Wm) uint8

        Returns
        -------
        ndarray, (T, Hm, Wm) bool
            True = the ground is not seen.
        """
        table = np.zeros(256, dtype=np.bool_)
        table[sorted(self.values)] = True
        found: Bool = looked_up(table, classes)
        return grown(found, self.grow) if self.grow else found


def hidden(classes: U8, kind: str) -> Bool:
    """Tell which mask pixels hide the ground.

    Parameters
    ----------
    classes : ndarray, (T, Hm, Wm) uint8
        Mask values: scene classes (``"SCL"``), 1 = cloud, shadow or nodata (``"mask"``), or cloud
        probability (``"CLP"``).
    kind : str
        A rule, see `MaskRule.parse`.

    Returns
    -------
    ndarray, (T, Hm, Wm) bool
        True = don't care.

    Raises
    ------
    CorruptInputError
        If `kind` is unknown.
    """
    return MaskRule.parse(kind).hidden(classes)


def read_values(text: str, where: str) -> frozenset[int]:
    """Read ``0,1,3,8-10``.

    Parameters
    ----------
    text : str
        Values and ranges from 0 to 255, separated by commas; empty = none.
    where : str
        What messages call the origin.

    Returns
    -------
    frozenset of int

    Raises
    ------
    CorruptInputError
        If it is something else.
    """
    found: set[int] = set()
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        match = re.fullmatch(r"(\d{1,3})(?:-(\d{1,3}))?", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not 0 <= first <= last <= 255:
            raise CorruptInputError(
                f"{where}: {part!r} is no mask value; want values and ranges from 0 to 255, "
                "like 0,1,3,8-10"
            )
        found.update(range(first, last + 1))
    return frozenset(found)


def read_grow(text: str, where: str) -> float:
    """Read a reach in pixels.

    Raises
    ------
    CorruptInputError
        If it is not a number from 0 to `MAX_GROW`.
    """
    try:
        grow = float(text)
    except ValueError:
        grow = -1.0
    if not 0 <= grow <= MAX_GROW:
        raise CorruptInputError(
            f"{where}: masks grow by 0 to {MAX_GROW:g} of their pixels, not {text}; choose less"
        )
    return grow


def spell_values(values: Iterable[int]) -> str:
    """Write values as `read_values` reads them: sorted, with ranges."""
    runs: list[list[int]] = []
    for value in sorted(values):
        if runs and value == runs[-1][1] + 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def _listed(value: Any) -> str:
    """Spell an attribute as text: NetCDF and users may have made a list of numbers of it."""
    if isinstance(value, str):
        return value
    return ",".join(str(int(item)) for item in np.atleast_1d(value))
