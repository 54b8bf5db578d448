"""``stvc info`` and ``stvc verify``: what an archive holds, and whether it still holds it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from stvc.cli.options import as_flags, effective_settings, require_file
from stvc.console import byte_size, day, emit_json, error, measured, printable
from stvc.exit_codes import ExitCode


def info(path: Path, *, as_json: bool, dates: bool) -> ExitCode:
    """Print what an archive holds, without decoding it.

    Parameters
    ----------
    path : Path
        The archive.
    as_json : bool
        Print ``Archive.info()`` as one JSON object.
    dates : bool
        Add one row per date.
    """
    require_file(path)

    import stvc.api as api

    with api.open(path) as archive:
        facts = archive.info()
    if as_json:
        emit_json({"command": "info", **facts})
        return ExitCode.OK
    rows = summary_rows(facts)
    if sys.stdout.isatty():
        _print_table(facts, rows, dates=dates)
        return ExitCode.OK
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:<{width}}  {value}")
    if dates:
        print()
        for cells in [_DATE_COLUMNS, *_date_rows(facts)]:
            print("  ".join(f"{cell:>12}" for cell in cells).rstrip())
        for line in superseded_lines(facts):
            print(line)
    return ExitCode.OK


def summary_rows(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Turn ``Archive.info()`` into rows of (name, value) for humans.

    Parameters
    ----------
    facts : dict
        What ``Archive.info()`` returns.

    Returns
    -------
    list of (str, str)
        In the order in which a reader asks: what, how large, how exact, how made.
    """
    from stvc.quality import DEFAULT_QUALITY

    exact = facts["rmse_clear"] == 0
    rows = [
        ("archive", str(facts["path"])),
        ("dates", f"{facts['frames']}, {day(facts['first_date'])} to {day(facts['last_date'])}"),
    ]
    for group in facts["groups"]:
        channels, height, width = group["shape"]
        rows.append(
            (
                f"grid {group['gsd']:g} m" if facts["crs"] else "grid",
                f"{width} x {height} px, {channels} band{'' if channels == 1 else 's'}: "
                f"{' '.join(group['bands'])}",
            )
        )
    rows += [
        ("CRS", _crs_name(facts["crs"])),
        ("size", f"{byte_size(facts['bytes'])} for {byte_size(facts['raw_bytes'])} of pixels"),
        ("ratio", f"{facts['ratio']:.1f}:1, {facts['bits_per_sample']:.3f} bits per sample"),
    ]
    kinds = [f"{kind} {byte_size(n)}" for kind, n in facts["bytes_by_kind"].items() if n]
    rows.append(("bytes in", ", ".join(kinds)))
    rows += [
        (
            "PSNR",
            "exact"
            if exact
            else measured(facts["psnr_clear"], ".2f", "dB on clear pixels (peak 10000)"),
        ),
        ("RMSE", measured(facts["rmse_clear"], ".1f", "DN on clear pixels")),
        ("max error", measured(facts["max_error_clear"], ".0f", "DN on clear pixels")),
        ("NDVI error", measured(facts["ndvi_mae_clear"], ".4f", "mean absolute, on clear pixels")),
        ("mask", _mask(facts["mask"])),
        ("settings", as_flags(effective_settings(facts, DEFAULT_QUALITY))),
        ("background", _background(facts["background"])),
        ("format", f"{facts['format_version']}, model {facts['model']}"),
        ("model gain", _saved(facts["learned_gain"])),
    ]
    rows += [("warning", str(text)) for text in facts["warnings"]]
    return [(name, printable(value)) for name, value in rows]


_SHOWN_ERRORS = 10
_DATE_COLUMNS = ("date", "bytes", "clear", "PSNR dB", "max error")


def _date_rows(facts: dict[str, Any]) -> list[tuple[str, ...]]:
    return [
        (
            day(frame["time"]),
            str(frame["bytes"]),
            measured(frame["clear_share"], ".0%"),
            measured(frame["psnr_clear"], ".2f"),
            measured(frame["max_error_clear"], ".0f"),
        )
        for frame in facts["dates"]
    ]


def superseded_lines(facts: dict[str, Any]) -> list[str]:
    """Name the frames that newer products replace: kept in the archive, hidden from its views."""

    def named(frame: dict[str, Any]) -> str:
        known = [frame.get(key) for key in ("product_id", "product_ids", "baseline")]
        return " ".join([day(frame["time"]), *(str(text) for text in known if text)])

    return [
        f"superseded: {named(frame)} ({byte_size(frame['bytes'])}) by "
        f"{named(frame['superseded_by'])}"
        for frame in facts.get("superseded", ())
    ]


def _mask(mask: dict[str, Any]) -> str:
    if mask["kind"] == "none":
        return "none: every pixel counts as clear"
    return f"{mask['kind']}, {measured(mask['clear_share'], '.0%')} of the ground is clear"


def _background(background: dict[str, Any] | None) -> str:
    if not background:
        return "none"
    # Content hashes identify by their first digits; the JSON has them whole.
    named = background["sha256"][:12]
    for later in background.get("versions", ())[1:]:
        named += f", from frame {later['first_frame']} on {later['sha256'][:12]}"
    if background["external"]:
        return f"external, sha256 {named}: decodes with the cache that has it"
    return f"sha256 {named}, bytes {background['bytes']}"


def _saved(gain: float | None) -> str:
    if gain is None:
        return "not known: too little was coded with it"
    return f"{gain:.1%} of the bits that the plain coder would take"


def _crs_name(crs: str | None) -> str:
    if not crs:
        return "none"
    if "[" not in crs:  # a code or a name, not WKT
        return crs
    from pyproj import CRS

    known = CRS.from_user_input(crs)
    code = known.to_authority()
    return f"{':'.join(code)} {known.name}" if code else str(known.name)


def _print_table(facts: dict[str, Any], rows: list[tuple[str, str]], *, dates: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, Text(value, style="yellow" if name == "warning" else ""))
    console.print(table)
    if not dates:
        return
    frames = Table(pad_edge=False)
    for column in _DATE_COLUMNS:
        frames.add_column(column, justify="left" if column == "date" else "right")
    for cells in _date_rows(facts):
        frames.add_row(*cells)
    console.print(frames)
    for line in superseded_lines(facts):
        console.print(Text(line, style="yellow"))


def verify(path: Path, *, cache_dir: Path | None, as_json: bool, quiet: bool) -> ExitCode:
    """Check every checksum, then decode everything.

    Returns
    -------
    ExitCode
        ``OK``, or ``CORRUPT`` with one error line per damaged unit.
    """
    require_file(path)

    import stvc.api as api
    from stvc.errors import BitstreamError

    try:
        with api.open(path, cache_dir=cache_dir) as archive:
            report = archive.verify()
    except BitstreamError as damage:
        # What cannot even be opened is a finding for verify, not a failure of it.
        error(str(damage))
        if as_json:
            emit_json(
                {
                    "command": "verify",
                    "path": path,
                    "ok": False,
                    "units_checked": 0,
                    "frames_checked": 0,
                    "errors": [str(damage)],
                    "sha256": None,
                }
            )
        return ExitCode.CORRUPT
    for text in report.errors[:_SHOWN_ERRORS]:
        error(text)
    if len(report.errors) > _SHOWN_ERRORS:
        error(f"and {len(report.errors) - _SHOWN_ERRORS} more; --json lists all of them")
    if as_json:
        emit_json(
            {
                "command": "verify",
                "path": path,
                "ok": report.ok,
                "units_checked": report.units_checked,
                "frames_checked": report.frames_checked,
                "errors": list(report.errors),
                "sha256": report.sha256,
            }
        )
    elif not quiet:
        verdict = "ok" if report.ok else f"damaged, {len(report.errors)} errors"
        print(
            f"{path}: {verdict}, {report.frames_checked} dates and {report.units_checked} units "
            f"checked, sha256 of the pixels {report.sha256}"
        )
    return ExitCode.OK if report.ok else ExitCode.CORRUPT
