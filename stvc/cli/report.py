"""``stvc report``: one page about an archive."""

from __future__ import annotations

from pathlib import Path

import typer

from stvc.cli.options import require_file
from stvc.cli.original import OriginalChoice
from stvc.console import byte_size, emit_json, note, progress_bar
from stvc.exit_codes import ExitCode


def report(
    path: Path,
    out: Path,
    choice: OriginalChoice,
    *,
    cache_dir: Path | None,
    as_json: bool,
    quiet: bool,
) -> ExitCode:
    """Write a report.

    Parameters
    ----------
    path : Path
        The archive.
    out : Path
        The page.
    choice : OriginalChoice
        Where the original is, if anywhere.
    cache_dir : Path or None
        Where external backgrounds are; None: the user's cache directory.
    as_json : bool
        Print a JSON object instead of a sentence.
    quiet : bool
        Print errors only (and the JSON object, if asked for).

    Raises
    ------
    StvcError
        If the archive is damaged, or the original does not fit it.
    typer.BadParameter
        If the output's directory is not there.
    """
    choice.check()
    if not out.parent.is_dir():
        raise typer.BadParameter(f"there is no directory {out.parent}", param_hint="--output")
    if out.suffix.lower() not in (".html", ".htm"):
        raise typer.BadParameter(
            f"{out.name!r} is no web page; end it in .html", param_hint="--output"
        )
    require_file(path)

    from stvc.report.page import write_report

    original = choice.read() if choice.named else None
    with progress_bar(quiet=quiet) as progress:
        told = write_report(path, out, original=original, cache_dir=cache_dir, progress=progress)
    size = out.stat().st_size
    for line in told.notes:
        if not quiet:
            note(line)
    if as_json:
        emit_json(
            {
                "command": "report",
                "path": out,
                "archive": path,
                "original": choice.label if choice.named else None,
                "dates": told.dates,
                "bytes": size,
                "notes": list(told.notes),
            }
        )
    elif not quiet:
        many = f"{told.dates} date{'' if told.dates == 1 else 's'}"
        print(f"{out}: report of {many}, {byte_size(size)}")
    return ExitCode.OK
