"""An archive header, read with suspicion: checked in size and kind before anything is allocated."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import numpy.typing as npt

from stvc.background.composite import check_klt
from stvc.codec.generations import NEWEST
from stvc.codec.place import Settings, axis_from_header
from stvc.codec.spectral import Klt
from stvc.errors import TooLargeError, VersionError
from stvc.masks import KINDS
from stvc.types import F64, GroupGrid, MaskGrid

FORMAT_VERSION = NEWEST
"""Newest version of the bit stream, which is the generation of the codec."""

VERSIONS = tuple(range(1, FORMAT_VERSION + 1))
"""Versions that are read and appended to; see CHANGELOG, *Bitstream*."""

FIRST_OF_CONTAINER_2 = 4
"""First version whose new archives have the container of version 2."""

EXTERNAL_BACKGROUND = "external-background"
"""Feature: the header names a background that the archive does not hold."""

BACKGROUND_VERSIONS = "background-versions"
"""Feature: from some frame on, another background than the first one predicts."""

LATER_BACKGROUNDS = "later_backgrounds"
"""Header entry of that feature: [first frame, content hash] of each version but the first."""

FEATURES = frozenset({EXTERNAL_BACKGROUND, BACKGROUND_VERSIONS})
"""What an archive may ask of its reader beyond the bit stream's version."""

MAX_PIXELS = 1 << 31
"""Most samples of one frame that a header may declare."""

_MAX_AXIS = 1 << 24
_FARTHEST = 1e15
_MAX_GROUPS = 1 << 10
_MAX_VERSIONS = 1 << 10
_MAX_BANDS = 1 << 14
_MAX_ERROR = 65535
_MODEL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,199}")
_HASH = re.compile(r"[0-9a-f]{64}")


def format_entry(version: int, features: frozenset[str]) -> int | list[Any]:
    """Header entry ``format``: the version, and in a list with it what a reader must know besides.

    Readers from before there were features compare the entry with their version: they refuse the
    list, and their message shows what it asks for.
    """
    return [version, *sorted(features)] if features else version


def container_of(version: int) -> int:
    """Container of a new archive of some version of the bit stream: one that its readers know."""
    return 2 if version >= FIRST_OF_CONTAINER_2 else 1


def read_format(header: dict[str, Any], name: str) -> tuple[int, frozenset[str]]:
    """Version of the bit stream, and the features that an archive asks for.

    Raises
    ------
    VersionError
        If this stvc does not know the version or one of the features.
    """
    entry = header.get("format")
    parts = entry if isinstance(entry, list) and entry else [entry]
    if parts[0] not in VERSIONS or isinstance(parts[0], (bool, float)):
        raise VersionError(
            f"{name}: bit stream version {_shown(parts[0])}, this stvc reads "
            f"{' and '.join(map(str, VERSIONS))}; install a newer stvc"
        )
    unknown = [part for part in parts[1:] if not isinstance(part, str) or part not in FEATURES]
    if unknown:
        raise VersionError(
            f"{name}: needs {', '.join(_shown(part) for part in unknown[:5])}, which this stvc "
            "does not know; install a newer stvc"
        )
    return parts[0], frozenset(parts[1:])


def read_grids(header: dict[str, Any]) -> tuple[tuple[GroupGrid, ...], MaskGrid]:
    """Read grids and mask; TooLargeError, VersionError, or what a malformed entry raises."""
    entries, m = header["grids"], header["mask"]
    if not isinstance(entries, list) or not 1 <= len(entries) <= _MAX_GROUPS:
        raise ValueError(f"{_shown(entries)} is no list of 1 to {_MAX_GROUPS} grids")
    samples, lengths = 0, _axis_length(m["y"], least=0) + _axis_length(m["x"], least=0)
    bands: list[str] = []
    for g in entries:
        names = g["bands"]
        if not isinstance(names, list) or not names or not all(isinstance(b, str) for b in names):
            raise ValueError(f"{_shown(names)} is no list of bands")
        bands += names
        samples += len(names) * _axis_length(g["y"]) * _axis_length(g["x"])
        lengths += _axis_length(g["y"]) + _axis_length(g["x"])
    if len(set(bands)) != len(bands) or len(bands) > _MAX_BANDS:
        raise ValueError(f"{len(bands)} bands, {len(set(bands))} of them different")
    kind = str(m["kind"])
    if kind.partition(";")[0] not in KINDS:  # behind it comes the rule, see MaskRule
        raise VersionError(f"mask kind {_shown(kind)} is unknown; install a newer stvc")
    classes = _axis_length(m["y"], least=0) * _axis_length(m["x"], least=0)
    if (classes == 0) != (kind == "none"):
        raise ValueError(f"a mask of kind {kind} with {classes} pixels")
    if lengths > _MAX_AXIS:
        raise TooLargeError(f"its header declares axes of {lengths} pixels")
    if max(samples, classes) > MAX_PIXELS:
        raise TooLargeError(
            f"its header declares {max(samples, classes)} samples per frame, "
            f"{MAX_PIXELS} are accepted"
        )
    grids = tuple(
        GroupGrid(_text(g["suffix"]), tuple(g["bands"]), _axis(g["y"]), _axis(g["x"]))
        for g in entries
    )
    if len({grid.suffix for grid in grids}) != len(grids):
        raise ValueError("two grids have the same suffix")
    return grids, MaskGrid(kind, _text(m["suffix"]), _axis(m["y"]), _axis(m["x"]))


def read_klts(header: dict[str, Any], grids: tuple[GroupGrid, ...]) -> tuple[Klt, ...]:
    """Read the spectral transforms, one per grid; what a malformed entry raises."""
    klts = tuple(Klt.from_header(k) for k in header["klts"])
    for klt, grid in zip(klts, grids, strict=True):
        check_klt(klt, len(grid.bands))
    return klts


def read_settings(header: dict[str, Any]) -> Settings:
    """Read the settings; CorruptError, or what a malformed entry raises."""
    settings = Settings.from_header(header["settings"])
    _text(settings.reference)
    whole = [settings.step_index, settings.key_interval]
    whole += [] if settings.max_error is None else [settings.max_error]
    switches = (settings.lossless, settings.recent)
    numbers = (settings.quality, settings.psnr)
    if not (
        all(type(value) is int for value in whole)
        and all(isinstance(value, bool) for value in switches)
        and all(value is None or _is_finite(value) for value in numbers)
        and 0 <= (settings.max_error or 0) <= _MAX_ERROR
    ):
        raise ValueError(f"settings {_shown(header['settings'])}")
    return settings


def read_model_id(header: dict[str, Any]) -> str:
    """Read the model's id, which names a file; ValueError if it cannot be one."""
    model_id = header["model"]
    if not isinstance(model_id, str) or not _MODEL_ID.fullmatch(model_id):
        raise ValueError(f"model {_shown(model_id)}")
    return model_id


def read_hashes(header: dict[str, Any]) -> tuple[tuple[int, str], ...]:
    """Read the backgrounds: first frame and content hash of each version; () if there is none."""
    first = header.get("background")
    later = header.get(LATER_BACKGROUNDS, [])
    if first is None and not later:
        return ()
    if not isinstance(later, list) or len(later) > _MAX_VERSIONS:
        raise ValueError(f"backgrounds {_shown(later)}")
    found: list[tuple[int, str]] = []
    for entry in ([0, first], *later):
        if not isinstance(entry, list) or len(entry) != 2 or type(entry[0]) is not int:
            raise ValueError(f"background {_shown(entry)}")
        if found and entry[0] <= found[-1][0]:
            raise ValueError(f"background {_shown(entry)} behind one of frame {found[-1][0]}")
        if not isinstance(entry[1], str) or not _HASH.fullmatch(entry[1]):
            raise ValueError(f"background {_shown(entry[1])}")
        found.append((entry[0], entry[1]))
    return tuple(found)


def read_attrs(header: dict[str, Any]) -> tuple[str, dict[str, Any], dict[str, dict[str, Any]]]:
    """Read CRS, attributes and band attributes; what a malformed entry raises."""
    band_attrs = {str(name): dict(attrs) for name, attrs in dict(header["band_attrs"]).items()}
    return str(header["crs"]), dict(header["attrs"]), band_attrs


def _axis_length(entry: Any, *, least: int = 1) -> int:
    """Pixels of an axis, before it is made."""
    if not isinstance(entry, list) or not entry:
        raise ValueError(f"an axis {_shown(entry)}")
    count = len(entry) - 1 if entry[0] == "values" else entry[2]
    if type(count) is not int:
        raise ValueError(f"an axis {_shown(entry)}")
    if count > _MAX_AXIS:
        raise TooLargeError(f"its header declares an axis of {count} pixels")
    if count < least:
        raise ValueError(f"an axis of {count} pixels")
    return count


def _axis(entry: list[Any]) -> F64:
    numbers = entry[1:] if entry[0] == "values" else entry[:2]
    if (entry[0] != "values" and len(entry) != 3) or not all(map(_is_center, numbers)):
        raise ValueError(f"an axis {_shown(entry)}")
    centers = axis_from_header(entry)
    if not _is_axis(centers):
        raise ValueError(f"an axis {_shown(entry)} that is not strictly monotonic")
    return centers


def _is_center(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= _FARTHEST  # false for NaN


def _is_axis(centers: npt.NDArray[np.float64]) -> bool:
    steps = np.diff(centers)
    return bool((steps > 0).all() or (steps < 0).all())


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{_shown(value)} is no text")
    return value


def _shown(value: Any) -> str:
    """A stranger's value for a message: short, and without control characters."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
