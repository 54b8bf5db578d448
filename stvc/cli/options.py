"""Readers for what users type: dates, band lists, quality flags; wrong values are usage errors."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any

import typer


class ExportFormat(StrEnum):
    """What an archive can be exported to."""

    netcdf = "netcdf"
    geotiff = "geotiff"


def read_date(text: str | None, flag: str) -> date | None:
    """Read an ISO date.

    Raises
    ------
    typer.BadParameter
        If the text is no calendar date of the form YYYY-MM-DD.
    """
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is not a date; write it as YYYY-MM-DD", param_hint=flag
        ) from None


def read_period(start: str | None, end: str | None) -> tuple[date | None, date | None]:
    """Read the first and the last day of a period, both inclusive, either open."""
    first, last = read_date(start, "--start"), read_date(end, "--end")
    if first and last and first > last:
        raise typer.BadParameter(f"starts at {first}, after its end {last}", param_hint="--start")
    return first, last


def read_bands(text: str | None) -> list[str] | None:
    """Read a comma-separated list of band names, each named once."""
    if text is None:
        return None
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise typer.BadParameter(
            f"{text!r} has an empty name; write it as B02,B03", param_hint="--bands"
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise typer.BadParameter(f"names {', '.join(twice)} twice", param_hint="--bands")
    return names


def given_options(**options: Any) -> dict[str, Any]:
    """Keep the options that were given, for a class that knows its own defaults."""
    return {name: value for name, value in options.items() if value is not None}


_SPANS = {"d": 1, "w": 7, "m": 30, "y": 365}
_SIZES = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def read_span(text: str, flag: str) -> int:
    """Read a span of time, such as ``90d``, ``12w``, ``6m`` or ``2y``; returns days."""
    number, unit = text[:-1].strip(), text[-1:].lower()
    if not number.isascii() or not number.isdigit() or len(number) > 6 or unit not in _SPANS:
        raise typer.BadParameter(
            f"{text!r} is no span of time; write it as 90d, 12w, 6m or 2y", param_hint=flag
        )
    return int(number) * _SPANS[unit]


def read_bytes(text: str, flag: str) -> int:
    """Read a size, such as ``2GB``, ``500MB`` or ``0``; returns bytes."""
    found = re.fullmatch(r"(\d{1,12}(?:\.\d{1,6})?) ?([KMGT]?)B?", text.strip().upper(), re.ASCII)
    if found is None:
        raise typer.BadParameter(f"{text!r} is no size; write it as 2GB or 500MB", param_hint=flag)
    return round(float(found[1]) * _SIZES[found[2]])


_BOUND = re.compile(r"(\d{1,9}(?:\.\d{1,9})?|\.\d{1,9}) ?(DN|R|REFL|REFLECTANCE)?", re.ASCII)


def read_error_bound(text: str | int) -> int:
    """Read a largest error: DN, or reflectance with its unit; returns DN.

    Parameters
    ----------
    text : str
        ``25``, ``25DN``, or ``0.0025r`` (``refl``, ``reflectance``): 10000 DN are reflectance 1.
        What lies between two DN becomes the lower: the bound that was asked for holds.

    Raises
    ------
    typer.BadParameter
        If it is no such number, or a reflectance of less than one DN.
    """
    from stvc.radiometry import SCALE

    found = _BOUND.fullmatch(str(text).strip().upper())
    if found is None:
        raise typer.BadParameter(
            f"{text!r} is no error bound; write it in DN, as 25, or in reflectance, as 0.0025r"
        )
    # Decimal: 0.0029 x 10000 is 28.999... in binary, and would lose a DN.
    value = Decimal(found[1])
    if found[2] in (None, "DN"):
        if value != int(value):
            raise typer.BadParameter(
                f"{text!r} is no whole number of DN; in reflectance, write {found[1]}r"
            )
        return int(value)
    bound = int(value * SCALE)
    if value and not bound:
        raise typer.BadParameter(
            f"{text!r} is less than one DN (reflectance {1 / SCALE:g}); ask for 0, or --lossless"
        )
    return bound


def read_date_size(text: str) -> int:
    """Read the value of ``--max-bytes``."""
    return read_bytes(text, "--max-bytes")


def require_file(path: Path) -> None:
    """Check that an input archive is there.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        With the path, for the one-line message.
    """
    if path.is_dir():
        raise IsADirectoryError(21, "is a directory, not an archive", str(path))
    if not path.exists():
        raise FileNotFoundError(2, "no such archive", str(path))


def refuse_stdout(path: Path | None) -> None:
    """Refuse ``-o -``: archives and exports are written beside and renamed, a pipe cannot be."""
    if path is not None and str(path) == "-":
        raise typer.BadParameter(
            "cannot write to standard output; name a file", param_hint="--output"
        )


@dataclass(frozen=True)
class QualityFlags:
    """What was asked for on the command line; None where nothing was said."""

    quality: float | None = None
    """0 to 100, stvc's own scale."""
    psnr: float | None = None
    """dB on clear pixels, peak 10000."""
    max_error: int | None = None
    """Hard bound on every clear pixel, in DN."""
    lossless: bool = False
    """Exact on every pixel."""
    max_bytes: int | None = None
    """Most bytes per date."""
    clouds: str | None = None
    """``keep``, ``coarse`` or ``drop``."""
    reference: str | None = None
    """``auto``, ``none``, ``background``, ``recent`` or ``both``."""
    effort: str | None = None
    """``default`` or ``fast``."""

    def check(self) -> None:
        """Refuse two targets at once.

        Raises
        ------
        typer.BadParameter
            If more than one of quality, PSNR, maximal error and lossless is given.
        """
        named = list(self._targets())
        if len(named) > 1:
            raise typer.BadParameter(
                f"{' and '.join(named)} exclude each other; give one of them",
                param_hint="quality",
            )

    def _targets(self) -> dict[str, Any]:
        targets = {
            "--quality": self.quality,
            "--psnr": self.psnr,
            "--max-error": self.max_error,
            "--lossless": self.lossless or None,
        }
        return {flag: value for flag, value in targets.items() if value is not None}

    def conflicts(self, settings: dict[str, Any]) -> list[str]:
        """List the flags that disagree with an archive's settings.

        Parameters
        ----------
        settings : dict
            `effective_settings` of the archive.

        Returns
        -------
        list of str
            One ``--flag value`` for each disagreement, in the order of the help.
        """
        given: dict[str, Any] = self._targets()
        if self.max_bytes is not None:
            given["--max-bytes"] = self.max_bytes
        if self.clouds is not None:
            given["--clouds"] = self.clouds
        if self.reference is not None:
            given["--reference"] = self.reference
        if self.effort is not None:
            given["--effort"] = self.effort
        wrong = []
        for flag, value in given.items():
            stored = settings.get(flag.removeprefix("--").replace("-", "_"))
            if not _same(stored, value):
                wrong.append(flag if value is True else f"{flag} {_shown(value)}")
        return wrong

    def encode_arguments(self) -> dict[str, Any]:
        """Return the keyword arguments for ``stvc.encode``, with its defaults where silent."""
        return {
            "quality": self.quality,
            "psnr": self.psnr,
            "max_error": self.max_error,
            "lossless": self.lossless,
            "max_bytes": self.max_bytes,
            "clouds": self.clouds or "drop",
            "reference": self.reference or "auto",
            "effort": self.effort or "default",
        }


def effective_settings(info: dict[str, Any], default_quality: float) -> dict[str, Any]:
    """Return an archive's settings by flag name, with the quality that stood in for a silent user.

    Parameters
    ----------
    info : dict
        What ``Archive.info()`` returns.
    default_quality : float
        ``stvc.quality.DEFAULT_QUALITY``.
    """
    stored = info["settings"]
    settings = {name: stored.get(name) for name in vars(QualityFlags())}
    settings["effort"] = info.get("effort")
    if settings["lossless"]:
        settings["max_error"] = None  # a bound of 0 is how it is kept, not what was asked
    elif all(settings[name] is None for name in ("quality", "psnr", "max_error")):
        settings["quality"] = default_quality
    return settings


def as_flags(settings: dict[str, Any]) -> str:
    """Write settings as the flags that would ask for them."""
    said = []
    for name, value in settings.items():
        if value is None or value is False:
            continue
        flag = "--" + name.replace("_", "-")
        said.append(flag if value is True else f"{flag} {_shown(value)}")
    return " ".join(said)


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _same(stored: object, value: object) -> bool:
    if isinstance(value, bool) or isinstance(stored, bool):
        return bool(stored) is bool(value)
    if isinstance(value, float) and isinstance(stored, (int, float)):
        return abs(float(stored) - value) <= 1e-9 * max(1.0, abs(value))
    return stored is not None and str(stored).lower() == str(value).lower()
