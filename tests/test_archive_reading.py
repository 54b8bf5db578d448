"""Reading an archive: few range requests, and from several threads at once."""

from __future__ import annotations

import io
import threading
from pathlib import Path

from archive_samples import HEADER, sample_frames, sample_units

from stvc.archive import ArchiveReader, Kind, UnitKey, write_archive


class CountingStream(io.BytesIO):
    """A file object that counts its range reads, as a remote one would be billed."""

    requests = 0
    fetched = 0

    def read(self, size: int | None = -1) -> bytes:
        block = super().read(size)
        self.requests += 1
        self.fetched += len(block)
        return block


def test_remote_date_needs_two_requests(tmp_path: Path) -> None:
    path = tmp_path / "fields.stvc"
    units = list(sample_units(0, 60, groups=2, tiles=4, mean_length=900))
    write_archive(path, HEADER, sample_frames(0, 60), units)
    stream = CountingStream(path.read_bytes())
    with ArchiveReader.open(stream) as reader:
        assert stream.requests == 1
        wanted = [
            key for key in reader.units if key.frame == 33 and key.kind is not Kind.BACKGROUND
        ]
        assert len(wanted) == 9
        reader.prefetch(wanted)
        assert stream.requests == 2
        expected = {key: payload for key, payload, _ in units}
        assert {key: reader.read(key) for key in wanted} == {key: expected[key] for key in wanted}
        assert stream.requests == 2
        assert stream.fetched < 16 * 1024 + 2 * sum(reader.units[key].length for key in wanted)
        assert reader.read(UnitKey(Kind.PIXELS, 2, 0, 0)) == expected[UnitKey(Kind.PIXELS, 2, 0, 0)]
    assert not stream.closed


def test_prefetch_skips_far_gaps(tmp_path: Path) -> None:
    path = tmp_path / "fields.stvc"
    payloads = {UnitKey(Kind.PIXELS, 0, 0, k): bytes([k]) * 200_000 for k in range(5)}
    write_archive(
        path, {}, sample_frames(0, 1), [(key, p, (0, 0, 0)) for key, p in payloads.items()]
    )
    stream = CountingStream(path.read_bytes())
    with ArchiveReader.open(stream) as reader:
        ends = [UnitKey(Kind.PIXELS, 0, 0, 0), UnitKey(Kind.PIXELS, 0, 0, 4)]
        reader.prefetch([*ends, UnitKey(Kind.MASK, 0, 0, 0)])
        assert stream.fetched < 16 * 1024 + 2 * 200_000 + 1
        assert [reader.read(key) for key in ends] == [payloads[key] for key in ends]


def test_reading_from_several_threads(tmp_path: Path) -> None:
    path = tmp_path / "fields.stvc"
    units = list(sample_units(0, 40, mean_length=3000))
    write_archive(path, {}, sample_frames(0, 40), units)
    wrong: list[UnitKey] = []
    with ArchiveReader.open(path) as reader:

        def read_all() -> None:
            wrong.extend(key for key, payload, _ in units if reader.read(key) != payload)

        threads = [threading.Thread(target=read_all) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []
