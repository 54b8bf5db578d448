"""What ``stvc decode`` and ``stvc export`` share: the dates and bands asked for, the last word."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from stvc.cli.options import require_file
from stvc.console import byte_size, emit_json, note

if TYPE_CHECKING:
    from stvc.archive_view import Archive
    from stvc.export.stream import Times


@dataclass(frozen=True)
class ReadRequest:
    """What both commands are asked for."""

    archive: Path
    """The archive to read."""
    out: Path
    """A file's name, which tells the format, or a directory for rasters."""
    on_day: date | None
    """Only this day; excludes ``start`` and ``end``."""
    start: date | None
    """First day, inclusive."""
    end: date | None
    """Last day, inclusive."""
    bands: list[str] | None
    """Band names; None: all."""
    on_error: str
    """``raise`` stops at the first damaged unit, ``skip`` reads the rest."""
    cache_dir: Path | None
    """Where an external background is looked up; None: the user's cache directory."""
    as_json: bool
    """Print a JSON object instead of a sentence."""
    quiet: bool
    """Print errors only (and the JSON object, if asked for)."""

    def open(self) -> Archive:
        """Open the archive.

        Raises
        ------
        typer.BadParameter
            If a day and a period are asked for at once.
        OSError
            If there is no such file.
        StvcError
            If it is no archive, or its index is damaged.
        """
        if self.on_day and (self.start or self.end):
            raise typer.BadParameter("excludes --start and --end", param_hint="--date")
        require_file(self.archive)

        import stvc.api as api

        return api.open(self.archive, on_error=self.on_error, cache_dir=self.cache_dir)

    def times(self, info: Mapping[str, Any]) -> Times:
        """Choose the dates, and check the bands.

        Parameters
        ----------
        info : mapping
            What ``Archive.info()`` returns.

        Returns
        -------
        ndarray, (n,) datetime64[s]
            At least one.

        Raises
        ------
        typer.BadParameter
            If the archive has no such band, or no date of the period.
        """
        from stvc.export import frames_between

        held = [band for group in info["groups"] for band in group["bands"]]
        missing = [band for band in self.bands or () if band not in held]
        if missing:
            raise typer.BadParameter(
                f"the archive has no {', '.join(missing)}; it has {', '.join(held)}",
                param_hint="--bands",
            )
        first, last = (self.on_day, self.on_day) if self.on_day else (self.start, self.end)
        times = frames_between([frame["time"] for frame in info["dates"]], first, last)
        if len(times) == 0:
            wanted = (
                first if first == last else f"{first or 'the beginning'} to {last or 'the end'}"
            )
            raise typer.BadParameter(
                f"no frame at {wanted}; {self.archive} holds {len(info['dates'])} dates "
                f"from {info['first_date']} to {info['last_date']} (see stvc info -v)",
                param_hint="--date" if self.on_day else "--start/--end",
            )
        return times

    def tell(
        self, command: str, form: str, files: list[Path], dates: int, damaged: tuple[str, ...]
    ) -> None:
        """Say what was written, and what could not be read.

        Parameters
        ----------
        command, form : str
            Name of the command, such as ``export``, and of the format.
        files : list of Path
            What was written; folders count with all that they hold.
        dates : int
        damaged : tuple of str
            `Archive.damaged`.
        """
        if damaged:
            done = f"{command.removesuffix('e')}ed"
            note(f"warning: {len(damaged)} damaged units {done} as nodata: {'; '.join(damaged)}")
        size = sum(_size(path) for path in files)
        if self.as_json:
            emit_json(
                {
                    "command": command,
                    "path": self.out,
                    "format": form,
                    "frames": dates,
                    "files": [str(path) for path in files],
                    "bytes": size,
                    "damaged": list(damaged),
                }
            )
        elif not self.quiet:
            many = f"{len(files)} file{'' if len(files) == 1 else 's'}"
            print(
                f"{self.out}: {dates} date{'' if dates == 1 else 's'} as {form}, "
                f"{many}, {byte_size(size)}"
            )


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(part.stat().st_size for part in path.rglob("*") if part.is_file())
    return path.stat().st_size
