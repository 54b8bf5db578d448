"""Whether an archive is whole: every checksum, then every frame, decoded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from stvc import threads
from stvc.archive import ArchiveReader
from stvc.codec.unit_reading import Damage
from stvc.codec.wave_decoder import DecodedFrame
from stvc.errors import BackgroundError, CorruptError, StvcError
from stvc.header import OpenPlace

Walk = Callable[[list[int], list[int], Damage], Iterator[DecodedFrame]]
"""Decodes frames (file indices) of band groups, and tells what is damaged."""


@dataclass(frozen=True)
class VerifyReport:
    """What `Archive.verify` found."""

    ok: bool
    units_checked: int
    frames_checked: int
    errors: tuple[str, ...]
    sha256: str
    """Of all decoded arrays in time order."""


def verify(reader: ArchiveReader, open_place: Callable[[], OpenPlace], walk: Walk) -> VerifyReport:
    """Check every checksum, then decode everything.

    Parameters
    ----------
    reader : ArchiveReader
    open_place : callable
        Gives what the header says, and the backgrounds.
    walk : callable
        See `Walk`.

    Raises
    ------
    BackgroundError
        If an external background is not there: that is no damage.
    """
    errors: list[str] = []
    for key in reader.units:
        try:
            reader.read(key)
        except CorruptError as error:
            errors.append(str(error))
    parts: dict[int, bytes] = {}
    try:
        opened = open_place()
        groups = list(range(len(opened.place.grids)))
        every = list(range(len(reader.frames)))
        with threads.fitting(opened.place.grids):
            for frame in walk(every, groups, errors.append):
                inner = hashlib.sha256(frame.classes.tobytes())
                for image in frame.pixels:
                    inner.update(image.astype("<u2").tobytes())
                parts[frame.index] = inner.digest()
    except BackgroundError:
        raise  # the archive is as it was written: what it needs is not here
    except StvcError as error:
        errors.append(str(error))
    order = np.argsort([f.time for f in reader.frames], kind="stable")
    digest = hashlib.sha256(b"".join(parts.get(int(k), b"") for k in order))
    unique = tuple(dict.fromkeys(errors))
    return VerifyReport(not unique, len(reader.units), len(parts), unique, digest.hexdigest())
