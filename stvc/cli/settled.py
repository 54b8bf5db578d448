"""What an archive that exists has settled: ``stvc encode`` appends by it, or refuses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from stvc.bands import find_band
from stvc.cli.options import as_flags, effective_settings

if TYPE_CHECKING:
    from stvc.cli.encode import EncodeRequest


@dataclass(frozen=True)
class Settled:
    """What an existing archive has decided already."""

    bands: list[str]
    """In the order of the archive."""
    times: list[str]
    """ISO, UTC."""
    size: int
    """Of the file, bytes."""
    mask: str
    """What tells hidden ground; see `stvc.cli.masking.archive_kind`."""


def settled_by(request: EncodeRequest) -> Settled:
    """Read the archive that dates are to be appended to.

    Raises
    ------
    typer.BadParameter
        If the request contradicts the settings that the archive was made with.
    StvcError
        If the file is no archive, or a damaged one.
    """
    import stvc.api as api
    from stvc.cli.masking import archive_kind
    from stvc.quality import DEFAULT_QUALITY

    with api.open(request.out) as archive:
        info = archive.info()
    settings = effective_settings(info, DEFAULT_QUALITY)
    wrong = request.flags.conflicts(settings)
    if request.external_background and not (info["background"] or {}).get("external"):
        wrong.append("--external-background")
    bands = [band for group in info["groups"] for band in group["bands"]]
    if request.bands is not None and _tidy(request.bands) != _tidy(bands):
        wrong.append(f"--bands {','.join(request.bands)}")
    if wrong:
        kept = f"{as_flags(settings)} --bands {','.join(bands)}"
        raise typer.BadParameter(
            f"{', '.join(wrong)} contradicts the archive, which keeps its settings ({kept}); "
            "leave it out, or start anew with --overwrite",
            param_hint=str(request.out),
        )
    times = [frame["time"] for frame in info["dates"]]
    return Settled(bands, times, int(info["bytes"]), archive_kind(info))


def _tidy(bands: list[str]) -> list[str]:
    known = [(name, find_band(name)) for name in bands]
    return sorted(name if band is None else band.name for name, band in known)
