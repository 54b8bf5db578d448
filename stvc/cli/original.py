"""Where ``stvc report`` and ``stvc compare`` get the original from: a file, or a source."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from stvc.types import Series


@dataclass(frozen=True)
class OriginalChoice:
    """What was said about the original."""

    path: Path | None
    """A file or folder."""
    source: str | None
    """Name of a registered source, asked for the archive's place."""
    aoi: str | None
    """The GeoJSON file that the archive was encoded with."""

    def check(self) -> None:
        """Refuse half an answer.

        Raises
        ------
        typer.BadParameter
            If both a file and a source are named, or a source without an area.
        """
        if self.path is not None and self.source is not None:
            raise typer.BadParameter(
                "names an original beside the one given as a file; keep one", param_hint="--source"
            )
        if (self.source is None) != (self.aoi is None):
            raise typer.BadParameter(
                "go together: a source is asked for an area", param_hint="--source, --aoi"
            )

    @property
    def named(self) -> bool:
        """Whether there is an original at all."""
        return self.path is not None or self.source is not None

    @property
    def label(self) -> str:
        """What the original is called in a report."""
        return str(self.path) if self.path is not None else f"source {self.source}"

    def read(self) -> Series:
        """Read the frames.

        Raises
        ------
        StvcError
            If they cannot be read or fetched.
        """
        if self.path is not None:
            from stvc.fidelity.originals import read_original

            return read_original(self.path)
        from stvc.aoi import read_aoi
        from stvc.dataset import series_from_dataset
        from stvc.source import get_source

        if self.source is None or self.aoi is None:
            raise ValueError("no original is named")
        source = get_source(self.source)
        return series_from_dataset(source.fetch(read_aoi(self.aoi), None, None, None, ()))
