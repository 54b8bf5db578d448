"""Originals to compare with: another archive, or whatever the source ``files`` reads."""

from __future__ import annotations

from pathlib import Path

from stvc.types import Series


def read_original(path: Path) -> Series:
    """Read an original, told by its name.

    Parameters
    ----------
    path : Path
        ``.stvc``; ``.nc``, ``.zarr``, ``.npz``; a GeoTIFF, a folder of them, or a SAFE folder (see
        `stvc.source.files`, which also brings reflectances and offsets to DN).

    Raises
    ------
    FileNotFoundError
        If there is nothing.
    StvcError
        If it cannot be read, or needs a package that is not installed.
    """
    from stvc.dataset import series_from_dataset

    if not path.exists():
        raise FileNotFoundError(2, "no such original", str(path))
    if path.suffix.lower() == ".stvc":
        import stvc.api as api

        with api.open(path) as archive:
            return archive.to_series()
    from stvc.source.files import FilesSource

    return series_from_dataset(FilesSource(path).fetch(None, None, None, None, ()))
