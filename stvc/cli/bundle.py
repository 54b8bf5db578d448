"""``stvc bundle``: an archive with its background inside, or outside."""

from __future__ import annotations

from pathlib import Path

from stvc.cli.options import require_file
from stvc.console import byte_size, emit_json
from stvc.exit_codes import ExitCode


def bundle(
    path: Path,
    out: Path,
    *,
    strip: bool,
    cache_dir: Path | None,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> ExitCode:
    """Write the archive in the wanted form, and tell.

    Raises
    ------
    StvcError
        If the archive is damaged, or its background is not to be had.
    """
    require_file(path)

    from stvc.background.bundle import bundle as write

    report = write(path, out, strip=strip, cache_dir=cache_dir, overwrite=overwrite)
    if as_json:
        emit_json(
            {
                "command": "bundle",
                "path": report.path,
                "background": report.content_hash,
                "external": report.content_hash is not None and strip,
                "changed": report.changed,
                "bytes_before": report.bytes_before,
                "bytes_after": report.bytes_after,
            }
        )
    elif not quiet:
        print(f"{report.path}: {_told(report.content_hash, report.changed, strip)}, ", end="")
        print(f"{byte_size(report.bytes_before)} before, {byte_size(report.bytes_after)} now")
    return ExitCode.OK


def _told(content_hash: str | None, changed: bool, strip: bool) -> str:
    if content_hash is None:
        return "uses no background, nothing to move"
    named = f"background {content_hash[:12]}"
    if not changed:
        return f"{named} was {'outside' if strip else 'inside'} already"
    return f"{named} {'moved to the cache' if strip else 'is inside now: decodes anywhere'}"
