"""``stvc compare``: how faithful an archive is to its original."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from stvc.cli.options import require_file
from stvc.cli.original import OriginalChoice
from stvc.console import emit_json, note, progress_bar
from stvc.exit_codes import ExitCode

if TYPE_CHECKING:
    from stvc.fidelity.classes import Labels
    from stvc.fidelity.measure import Fidelity

_FORMS = (".html", ".htm", ".md", ".json")


def compare(
    path: Path,
    choice: OriginalChoice,
    *,
    out: Path | None,
    labels: Path | None,
    cache_dir: Path | None,
    as_json: bool,
    quiet: bool,
) -> ExitCode:
    """Compare an archive with its original.

    Parameters
    ----------
    path : Path
        The archive.
    choice : OriginalChoice
        Where the original is.
    out : Path or None
        A page to write as well.
    labels : Path or None
        Classes of the pixels.
    cache_dir : Path or None
        Where external backgrounds are; None: the user's cache directory.
    as_json : bool
        Print a JSON object instead of tables.
    quiet : bool
        Print errors only (and the JSON object, if asked for).

    Raises
    ------
    StvcError
        If either cannot be read, or they do not fit each other.
    typer.BadParameter
        If the output's name or directory cannot be used.
    """
    choice.check()
    if out is not None and out.suffix.lower() not in _FORMS:
        raise typer.BadParameter(
            f"cannot tell the format from {out.name!r}; end it in .html, .md or .json",
            param_hint="--output",
        )
    if out is not None and not out.parent.is_dir():
        raise typer.BadParameter(f"there is no directory {out.parent}", param_hint="--output")
    require_file(path)

    import stvc.api as api
    from stvc.fidelity.measure import measure
    from stvc.fidelity.tables import to_text

    with progress_bar(quiet=quiet) as progress:
        original = choice.read()
        with api.open(path, cache_dir=cache_dir) as archive:
            decoded = archive.to_series(progress=progress)
        found = measure(original, decoded, labels=_read_labels(labels), progress=progress)
    title = f"{path.name} against {choice.label}"
    result: dict[str, Any] = {
        "command": "compare",
        "archive": path,
        "original": choice.label,
        **found.to_json(),
    }
    if out is not None:
        _write(out, found, title, result)
    if as_json:
        emit_json(result)
    elif not quiet:
        print(to_text(found, title))
        if out is not None:
            note(f"wrote {out}")
    return ExitCode.OK


def _write(out: Path, found: Fidelity, title: str, result: dict[str, Any]) -> None:
    from stvc.export.rules import replacing
    from stvc.fidelity.tables import to_markdown

    suffix = out.suffix.lower()
    if suffix == ".md":
        text = to_markdown(found, title)
    elif suffix == ".json":
        from stvc.report.html import finite

        text = json.dumps(finite(result), allow_nan=False, indent=1, default=str) + "\n"
    else:
        from stvc.report.page import compare_page

        text = compare_page(found, title)
    with replacing(out) as scratch:
        scratch.write_text(text, encoding="utf-8")


def _read_labels(path: Path | None) -> Labels | None:
    if path is None:
        return None
    import numpy as np

    from stvc.errors import CorruptInputError, StvcError

    if not path.exists():
        raise FileNotFoundError(2, "no such labels", str(path))
    if path.suffix.lower() == ".npy":
        try:
            values = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as problem:
            raise CorruptInputError(f"{path}: not readable as an array ({problem})") from problem
    elif path.suffix.lower() in (".tif", ".tiff"):
        try:
            import rasterio
        except ImportError as missing:
            raise StvcError(
                "reading GeoTIFFs needs rasterio; install it: pip install 'stvc[export]'"
            ) from missing
        with rasterio.open(path) as raster:
            values = raster.read(1)
    else:
        raise CorruptInputError(f"{path}: labels are read from .npy or .tif")
    if values.ndim != 2 or values.dtype.kind not in "iu":
        raise CorruptInputError(
            f"{path}: labels are {values.dtype} {values.shape}; give integers (H, W)"
        )
    return np.asarray(values, np.int64)
