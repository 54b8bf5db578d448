"""The archive container: one HDF5 file of small checked payloads; knows nothing about pixels."""

from stvc.archive.keys import FrameRecord, Kind, UnitInfo, UnitKey
from stvc.archive.layout import FORMAT_MAJOR, FORMAT_MINOR
from stvc.archive.locking import lock
from stvc.archive.reader import ArchiveReader
from stvc.archive.writer import write_archive

__all__ = [
    "FORMAT_MAJOR",
    "FORMAT_MINOR",
    "ArchiveReader",
    "FrameRecord",
    "Kind",
    "UnitInfo",
    "UnitKey",
    "lock",
    "write_archive",
]
