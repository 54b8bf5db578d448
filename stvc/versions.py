"""Which product a frame was made of, and which frames newer products have superseded.

A frame's key is its products and their processing baseline; the place is the archive's own. Two
versions of one acquisition both stay in an archive: the newer one's record names the older one's
frame index under `SUPERSEDES_KEY`, and views show the newer one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stvc.archive.keys import FrameRecord
from stvc.errors import CorruptError

SUPERSEDES_KEY = "__supersedes__"
"""Provenance key: indices of the frames that a frame replaces, all of them earlier in the file."""

SUPERSEDED_COLUMN = "superseded"
"""Variable along time that tells versions apart in views of all of them."""

PRODUCT_KEYS = ("product_id", "product_ids")
"""Provenance columns that name the products of a frame; several are separated by ``,`` or ``;``."""

BASELINE_KEYS = ("baseline", "processing_baseline")
"""Provenance columns with the processing baseline, such as ``05.09``."""

_SENTINEL2 = re.compile(
    r"(?P<mission>S2[A-D])_MSI(?P<level>L1C|L2A)_(?P<sensed>\d{8}T\d{6})_N(?P<baseline>\d{4})"
    r"_R(?P<orbit>\d{3})_T(?P<tile>\w{5})"
)


@dataclass(frozen=True)
class Version:
    """What is on record of one frame."""

    time: int
    """Sensing time, seconds since 1970 UTC."""
    products: frozenset[str]
    """Product ids; empty if the source names none."""
    baseline: tuple[int, ...]
    """Processing baseline as numbers, the newest of its products; empty if unknown."""

    @property
    def acquisitions(self) -> frozenset[str]:
        """What the products are products of: sensor, sensing start and tile, whatever baseline."""
        found = (_SENTINEL2.match(product) for product in self.products)
        return frozenset(
            "_".join(match.group("mission", "level", "sensed", "tile")) for match in found if match
        )

    @property
    def key(self) -> tuple[frozenset[str], tuple[int, ...]]:
        """What makes a frame this frame and no other version of it."""
        return self.products, self.baseline

    @property
    def named(self) -> bool:
        """Whether the source said anything that tells versions apart."""
        return bool(self.products or self.baseline)


def version_of(time: int, provenance: Mapping[str, Any]) -> Version:
    """Read a frame's version from its provenance.

    Parameters
    ----------
    time : int
        Seconds since 1970 UTC.
    provenance : mapping
        Of a frame record or of a source's listing.

    Returns
    -------
    Version
    """
    products = frozenset(
        part
        for key in PRODUCT_KEYS
        for part in re.split(r"[,;|\s]+", _text(provenance.get(key)))
        if part
    )
    stated = [_baseline(provenance.get(key)) for key in BASELINE_KEYS]
    in_ids = [_baseline(m["baseline"]) for m in map(_SENTINEL2.match, products) if m]
    return Version(time, products, max([*stated, *in_ids], default=()))


def supersedes(new: Version, old: Version) -> bool:
    """Tell whether a frame takes the place of another one.

    At the same second any other version does, unless its baseline is older or it is only a part of
    what is there. At another second it must be the same acquisition, and either of a newer baseline
    or more complete: two halves of one overpass stand beside each other.
    """
    if not (new.named and old.named) or new.key == old.key or older(new, old):
        return False
    if new.time == old.time:
        return not (new.products < old.products and new.baseline == old.baseline)
    if not new.acquisitions & old.acquisitions:
        return False
    newer = bool(new.baseline and old.baseline) and new.baseline > old.baseline
    return newer or new.products > old.products


def older(new: Version, old: Version) -> bool:
    """Tell whether a frame is an outdated version of an acquisition that is there."""
    same = new.time == old.time or bool(new.acquisitions & old.acquisitions)
    return same and bool(new.baseline and old.baseline) and new.baseline < old.baseline


def plan_append(
    records: Sequence[FrameRecord], candidates: Sequence[Version]
) -> list[tuple[int, ...] | None]:
    """Decide what becomes of each candidate for an archive.

    Parameters
    ----------
    records : sequence of FrameRecord
        The archive's frames, in file order.
    candidates : sequence of Version
        In the order in which they would be appended.

    Returns
    -------
    list of (tuple of int, or None)
        Per candidate None if the archive has no use for it (it is there, or is an older version of
        what is there), else the file indices that it supersedes: mostly none. Accepted candidates
        are counted behind the archive's frames, one after another.
    """
    gone = superseded(records)
    found = _Record()
    for record in records:
        found.add(version_of(record.time, record.provenance))
    plan: list[tuple[int, ...] | None] = []
    for new in candidates:
        rivals = {i: found.held[i] for i in found.rivals(new) if i not in gone}
        replaced = tuple(index for index, old in rivals.items() if supersedes(new, old))
        taken = any(
            index not in replaced and (old.time == new.time or older(new, old))
            for index, old in rivals.items()
        )
        if taken or (new.products and new.key in found.keys):
            plan.append(None)
            continue
        gone.update(dict.fromkeys(replaced, len(found.held)))
        found.add(new)
        plan.append(replaced)
    return plan


class _Record:
    """Versions in file order, found by time and by acquisition without searching."""

    def __init__(self) -> None:
        self.held: list[Version] = []
        self.keys: set[tuple[frozenset[str], tuple[int, ...]]] = set()
        self._places: dict[int | str, list[int]] = {}

    def add(self, version: Version) -> None:
        handles: list[int | str] = [version.time, *version.acquisitions]
        for handle in handles:
            self._places.setdefault(handle, []).append(len(self.held))
        self.held.append(version)
        self.keys.add(version.key)

    def rivals(self, version: Version) -> list[int]:
        found = set(self._places.get(version.time, ()))
        for acquisition in version.acquisitions:
            found.update(self._places.get(acquisition, ()))
        return sorted(found)


def superseded(records: Sequence[FrameRecord]) -> dict[int, int]:
    """Find the frames that later ones replace.

    Parameters
    ----------
    records : sequence of FrameRecord
        All frames of an archive, in file order.

    Returns
    -------
    dict of int to int
        Index of a superseded frame to the index of the frame that took its place.

    Raises
    ------
    CorruptError
        If a record names a frame that does not stand before it.
    """
    gone: dict[int, int] = {}
    for index, record in enumerate(records):
        named = record.provenance.get(SUPERSEDES_KEY)
        if named is None:
            continue
        if not isinstance(named, list) or not all(
            type(old) is int and 0 <= old < index for old in named
        ):
            raise CorruptError(
                f"index: frame {index} supersedes {str(named)[:40]}, want earlier frames; "
                "copy or encode the archive again"
            )
        gone.update(dict.fromkeys(named, index))
    return gone


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return " ".join(_text(item) for item in value)
    return str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""


def _baseline(value: Any) -> tuple[int, ...]:
    """``"05.09"``, ``"N0509"``, ``509`` and 5.09 are the same; empty if it is no baseline."""
    if isinstance(value, float):
        value = f"{value:.2f}"
    match = re.fullmatch(r"N?(\d{1,2})\.?(\d{2})", _text(value).strip())
    return (int(match[1]), int(match[2])) if match else ()
