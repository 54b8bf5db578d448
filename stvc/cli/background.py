"""``stvc background list | show | prune``: look at the cache of backgrounds, and keep it small."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from stvc.console import byte_size, emit_json, note, printable
from stvc.exit_codes import ExitCode

if TYPE_CHECKING:
    from stvc.background import BackgroundCache, CacheEntry

_DAY = 86400.0
_SHORT = 12
_COLUMNS = ("hash", "place", "dates", "first", "last", "size", "used", "state")


def list_entries(cache_dir: Path | None, *, as_json: bool) -> ExitCode:
    """Print one row for each entry."""
    cache = open_cache(cache_dir)
    entries = sorted(cache.list(), key=lambda entry: -entry.used)
    damaged = cache.damaged()
    if as_json:
        emit_json(
            {
                "command": "background list",
                "cache": cache.root,
                "entries": [_facts(entry) for entry in entries],
                "damaged": [str(path) for path in damaged],
                "bytes": sum(entry.size for entry in entries),
            }
        )
        return ExitCode.OK
    for path in damaged:
        note(f"{path.name} is damaged and not used; stvc background prune removes it")
    rows = [_row(_facts(entry)) for entry in entries]
    if not rows:
        note(f"no backgrounds in {cache.root}")
        return ExitCode.OK
    widths = [max(len(cell) for cell in column) for column in zip(_COLUMNS, *rows, strict=True)]
    for cells in [_COLUMNS, *rows]:
        line = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        print(line.rstrip())
    total = byte_size(sum(entry.size for entry in entries))
    many = f"{len(entries)} background{'' if len(entries) == 1 else 's'}"
    note(f"{many}, {total} in {cache.root}")
    return ExitCode.OK


def show(prefix: str, out: Path | None, cache_dir: Path | None, *, as_json: bool) -> ExitCode:
    """Print the facts of one entry, or draw it.

    Raises
    ------
    typer.BadParameter
        If the digits name no entry, or several.
    BackgroundError
        If the entry is damaged.
    """
    from stvc.background.composite import head_of
    from stvc.codec.quantize import step_size
    from stvc.errors import BackgroundError

    cache = open_cache(cache_dir)
    entry = _find(cache, prefix)
    found = cache.load(entry.content_hash)
    if found is None:
        raise BackgroundError(f"background {entry.content_hash} has just been removed; list again")
    head = head_of(found[0])
    facts = {
        **_facts(entry),
        "place_key": entry.place_key,
        "payload_bytes": len(found[0]),
        "shapes": [list(shape) for shape in head.shapes],
        "gsd": list(head.gsd),
        "bands": entry.meta.get("bands"),
        "crs": entry.meta.get("crs"),
        "step_dn": float(step_size(head.step_index)) / 16,
    }
    if out is not None:
        from stvc.background.portrait import draw

        draw(found[0], found[1], out)
    if as_json:
        emit_json({"command": "background show", **facts, "picture": out})
        return ExitCode.OK
    width = max(len(name) for name in facts)
    for name, value in facts.items():
        print(f"{name:<{width}}  {_shown(name, value)}")
    if out is not None:
        note(f"drawn in {out}")
    return ExitCode.OK


def prune(
    cache_dir: Path | None,
    *,
    max_size: int | None,
    older_than: int | None,
    unused: bool,
    needed_too: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> ExitCode:
    """Remove entries that meet a condition.

    Raises
    ------
    BackgroundError, LockedError
        If the cache is not writable, or another process is pruning it for long.
    """
    from stvc.background.prune import prune as work

    cache = open_cache(cache_dir)
    report = work(
        cache,
        max_size=max_size,
        older_than=None if older_than is None else older_than * _DAY,
        superseded=unused,
        needed_too=needed_too,
        dry_run=dry_run,
    )
    if as_json:
        emit_json(
            {
                "command": "background prune",
                "cache": cache.root,
                "dry_run": dry_run,
                "removed": [entry.content_hash for entry in report.removed],
                "damaged": report.damaged,
                "kept": report.kept,
                "kept_needed": report.kept_needed,
                "bytes_freed": report.bytes_freed,
                "bytes_left": report.bytes_left,
            }
        )
        return ExitCode.OK
    if report.kept_needed and not quiet:
        note(
            f"{report.kept_needed} spared: archives with an external background need them "
            "(--needed-too removes them)"
        )
    if not quiet:
        verb = "would remove" if dry_run else "removed"
        damaged = f" and {report.damaged} damaged" if report.damaged else ""
        print(
            f"{verb} {len(report.removed)}{damaged}, {byte_size(report.bytes_freed)}; "
            f"{report.kept} left in {byte_size(report.bytes_left)}"
        )
    return ExitCode.OK


def open_cache(cache_dir: Path | None) -> BackgroundCache:
    """Open the cache at a directory, or the user's (heavy imports only now)."""
    from stvc import config
    from stvc.background import BackgroundCache

    return BackgroundCache(config.cache_dir() if cache_dir is None else cache_dir)


def _find(cache: BackgroundCache, prefix: str) -> CacheEntry:
    wanted = prefix.lower().removesuffix(".h5")
    found = [entry for entry in cache.list() if wanted and entry.content_hash.startswith(wanted)]
    if len(found) != 1:
        many = "no background" if not found else f"{len(found)} backgrounds"
        raise typer.BadParameter(
            f"{prefix!r} names {many} in {cache.root}; stvc background list shows them",
            param_hint="HASH",
        )
    return found[0]


def _facts(entry: CacheEntry) -> dict[str, Any]:
    """What a listing tells of an entry (JSON values)."""
    meta = entry.meta
    return {
        "sha256": entry.content_hash,
        "place": _place(meta),
        "dates": meta.get("dates"),
        "first": meta.get("first"),
        "last": meta.get("last"),
        "bytes": entry.size,
        "model": meta.get("model"),
        "created": _moment(entry.created),
        "used": _moment(entry.used),
        "newest": entry.newest,
        "needed": entry.needed,
    }


def _place(meta: dict[str, Any]) -> str:
    center, name = meta.get("center"), meta.get("name")
    if isinstance(name, str) and name:
        return name
    if isinstance(center, list) and len(center) == 2:
        east, north = (float(degrees) for degrees in center)
        return f"{abs(north):.4f}{'NS'[north < 0]} {abs(east):.4f}{'EW'[east < 0]}"
    return "without CRS"


def _row(facts: dict[str, Any]) -> tuple[str, ...]:
    dates = facts["dates"]
    states = [word for word in ("newest", "needed") if facts[word]]
    return (
        facts["sha256"][:_SHORT],
        printable(facts["place"]),
        str(dates) if isinstance(dates, int) else "-",
        str(facts["first"] or "-")[:10],
        str(facts["last"] or "-")[:10],
        byte_size(facts["bytes"]),
        facts["used"][:16].replace("T", " "),
        ", ".join(states) or "superseded",
    )


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if name in ("bytes", "payload_bytes"):
        return byte_size(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return printable(" ".join(str(value).split())[:100])


def _moment(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(0))
