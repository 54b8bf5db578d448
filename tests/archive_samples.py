"""Small archives with random payloads, shared by the archive tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from stvc.archive import FORMAT_MAJOR, ArchiveReader, FrameRecord, Kind, UnitKey, write_archive

Unit = tuple[UnitKey, bytes, tuple[int, int, int]]
HEADER = {
    "crs": "EPSG:32631",
    "klt": [[16384, -3], [3, 16384]],
    "note": "Žďár",
    "nested": {"a": None},
}


def sample_frames(first: int, last: int) -> list[FrameRecord]:
    """Frames ``first`` to ``last - 1``, some without provenance."""
    return [
        FrameRecord(
            1_500_000_000 + 432_000 * k + k % 7,
            {} if k % 3 == 2 else {"product_id": f"S2A_MSIL2A_{k:04d}", "baseline": k % 5 / 2},
            (k, 40 + k % 3)[: k % 3],
        )
        for k in range(first, last)
    ]


def sample_units(
    first: int, last: int, *, groups: int = 2, tiles: int = 1, mean_length: int = 60
) -> Iterator[Unit]:
    """Yield units of frames ``first`` to ``last - 1``; bytes depend on the frame number only."""
    if first == 0:
        yield UnitKey(Kind.BACKGROUND, 0, 0, 0), bytes(range(200)), (0, 0, 0)
    for frame in range(first, last):
        rng = np.random.default_rng(frame)
        yield UnitKey(Kind.MASK, frame, 0, 0), rng.bytes(frame % 4 and 5), (1, 0, 0)
        for group in range(groups):
            for tile in range(tiles):
                length = int(rng.gamma(4, mean_length / 4))
                stats = (int(rng.integers(90)), group, int(rng.integers(400)))
                yield UnitKey(Kind.PIXELS, frame, group, tile), rng.bytes(length), stats


def write_sample(path: Path, first: int, last: int, major: int = FORMAT_MAJOR) -> None:
    """Write frames ``first`` to ``last - 1``; appends when ``first`` is not 0."""
    if first == 0:
        write_archive(path, HEADER, sample_frames(0, last), sample_units(0, last), major=major)
        return
    with ArchiveReader.open(path) as base:
        write_archive(
            path, HEADER, sample_frames(first, last), sample_units(first, last), base=base
        )


def contents(reader: ArchiveReader) -> dict[UnitKey, bytes]:
    """Read every unit."""
    return {key: reader.read(key) for key in reader.units}
