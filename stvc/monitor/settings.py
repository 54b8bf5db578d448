"""What may be set for a field, and what each setting may be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from difflib import get_close_matches
from typing import Any

from stvc.errors import ConfigError, QualityError
from stvc.masks.choice import MaskChoice

DEFAULT_LOOK_BACK = 15
"""Days: Sentinel-2 products mostly arrive within hours, and reprocessed ones within two weeks."""

WHOLE_PERIOD = -1
"""`FieldSettings.look_back` of ``"all"``: look for what is missing from the start on."""


@dataclass(frozen=True)
class FieldSettings:
    """How one field is monitored."""

    source: str = "sample"
    """Name of a registered source."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What the source takes: the file's table ``[sources.NAME]``, and on it the field's own."""
    bands: tuple[str, ...] | None = None
    """Band names of a new archive; None = all that the source has."""
    start: date | None = None
    """First day of a new archive."""
    end: date | None = None
    """Last day."""
    look_back: int = DEFAULT_LOOK_BACK
    """Days before the last date held in which late and reprocessed products are looked for;
    `WHOLE_PERIOD` = from the start on."""
    quality: float | None = None
    """0 to 100."""
    psnr: float | None = None
    """dB on clear pixels."""
    max_error: int | None = None
    """DN."""
    lossless: bool = False
    """Exact on every pixel."""
    max_bytes: int | None = None
    """Most bytes per date, for new archives."""
    clouds: str = "drop"
    """``keep``, ``coarse`` or ``drop``."""
    reference: str = "auto"
    """As in `stvc.encode`."""
    effort: str = "default"
    """``default`` or ``fast``, for new archives."""
    mask: Mapping[str, Any] = field(default_factory=dict)
    """What `stvc.masks.choice.MaskChoice` takes; {} = the source's own mask."""
    accept_offset: bool = False
    """Append frames that lie a baseline's offset (about 1000 DN) beside the archive."""
    external_background: bool = False
    """Keep historical backgrounds in the cache only, as in `stvc.encode`."""
    batch: int | None = None
    """Most dates that are fetched at once; None = as many as fit into memory."""

    def encode_arguments(self) -> dict[str, Any]:
        """Return the keyword arguments for `stvc.encode`."""
        names = ("quality", "psnr", "max_error", "lossless", "max_bytes")
        return {name: getattr(self, name) for name in (*names, "clouds", "reference", "effort")}


def read_settings(table: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Check a TOML table of settings.

    Parameters
    ----------
    table : mapping
        Any of the names of `FieldSettings`.
    where : str
        What messages call the table.

    Returns
    -------
    dict
        Values as `FieldSettings` wants them.

    Raises
    ------
    ConfigError
        If a name is unknown or a value has the wrong type or range.
    """
    return {name: _read(name, value, f"{where}: {name}") for name, value in table.items()}


def overlay(*tables: Mapping[str, Any]) -> dict[str, Any]:
    """Lay tables of settings over each other, the last one on top.

    The targets ``quality``, ``psnr``, ``max_error`` and ``lossless`` are one setting in this: a
    table that names one of them replaces what those below it ask for.
    """
    merged: dict[str, Any] = {}
    for table in tables:
        if any(target in table for target in _TARGETS):
            merged = {name: value for name, value in merged.items() if name not in _TARGETS}
        merged |= table
    return merged


def check_quality(settings: FieldSettings, where: str) -> None:
    """Refuse quality settings that contradict each other; ConfigError says which."""
    from stvc.quality import quality_settings

    try:
        quality_settings(**settings.encode_arguments())
    except QualityError as error:
        raise ConfigError(f"{where}: {error}") from None
    if settings.start and settings.end and settings.start > settings.end:
        raise ConfigError(f"{where}: starts at {settings.start}, after its end {settings.end}")


def unknown_key(name: str, known: tuple[str, ...], where: str) -> ConfigError:
    """Say that a key is unknown, and which one may have been meant."""
    close = get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
    return ConfigError(f"{where}: unknown key {name!r}; {hint}")


def read_days(value: Any, where: str) -> int:
    """Read a time span: whole days as ``15``, ``"15d"`` or ``"2w"``, or ``"all"``.

    Raises
    ------
    ConfigError
        If it is something else, negative, or longer than a century.
    """
    if value == "all":
        return WHOLE_PERIOD
    text = str(value).strip() if isinstance(value, str | int) and value is not True else ""
    match = re.fullmatch(r"(\d{1,5})\s*([dw]?)", text)
    days = int(match[1]) * (7 if match[2] == "w" else 1) if match else WHOLE_PERIOD
    if not 0 <= days <= 36525:
        raise ConfigError(f"{where}: {value!r} is no time span; write it as 15d, 2w or all")
    return days


def _read(name: str, value: Any, where: str) -> Any:
    if name not in _READERS:
        raise unknown_key(name, tuple(_READERS), where.rpartition(":")[0])
    return _READERS[name](value, where)


def _word(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{where} = {value!r}; want a word in quotes")
    return value.strip()


def _day(value: Any, where: str) -> date:
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        raise ConfigError(f"{where} = {value!r}; want a date as 2024-06-01") from None


def _bands(value: Any, where: str) -> tuple[str, ...]:
    names = value.split(",") if isinstance(value, str) else value
    if (
        not isinstance(names, list)
        or not names
        or not all(isinstance(name, str) and name.strip() for name in names)
        or len({name.strip() for name in names}) < len(names)
    ):
        raise ConfigError(f'{where} = {value!r}; want band names, each once: ["B04", "B08"]')
    return tuple(name.strip() for name in names)


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"{where} = {value!r}; want a number")
    try:
        return float(value)
    except OverflowError:
        raise ConfigError(f"{where} has {len(str(value))} digits; want a number") from None


def _count(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ConfigError(f"{where} = {value!r}; want a whole number, 0 or more")
    return value


def _batch(value: Any, where: str) -> int:
    count = _count(value, where)
    if count < 1:
        raise ConfigError(f"{where} = {value!r}; want 1 date or more")
    return count


def _flag(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"{where} = {value!r}; want true or false")
    return value


def _mask(value: Any, where: str) -> dict[str, Any]:
    """``"clp"`` is short for ``{ method = "clp" }``."""
    table = {"method": value} if isinstance(value, str) else value
    if not isinstance(table, dict):
        raise ConfigError(f"{where} = {value!r}; want a method in quotes, or a table")
    for name in table:
        if name not in MaskChoice.__dataclass_fields__:
            raise unknown_key(name, tuple(MaskChoice.__dataclass_fields__), where)
    for name, kinds in (("method", str), ("classes", str), ("threshold", int), ("dilate", float)):
        if name in table and type(table[name]) not in (kinds, int if kinds is float else kinds):
            raise ConfigError(f"{where}: {name} = {table[name]!r}; want {_NOUNS[kinds]}")
    for name in ("file", "weights"):
        if name in table and not isinstance(table[name], str):
            raise ConfigError(f"{where}: {name} = {table[name]!r}; want a path in quotes")
    try:
        MaskChoice(**table)
    except QualityError as error:
        raise ConfigError(f"{where}: {error}") from None
    return table


def _options(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{where} = {value!r}; want a table of the source's options")
    return value


_NOUNS: dict[type, str] = {str: "a text", int: "a whole number", float: "a number of meters"}

_READERS = {
    "source": _word,
    "bands": _bands,
    "start": _day,
    "end": _day,
    "look_back": read_days,
    "quality": _number,
    "psnr": _number,
    "max_error": _count,
    "lossless": _flag,
    "max_bytes": _count,
    "clouds": _word,
    "reference": _word,
    "effort": _word,
    "mask": _mask,
    "accept_offset": _flag,
    "external_background": _flag,
    "options": _options,
    "batch": _batch,
}

_TARGETS = ("quality", "psnr", "max_error", "lossless")
