"""Payloads of units: of remote files those of a request together, in few range reads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from stvc.archive import ArchiveReader, UnitKey
from stvc.errors import CorruptError

Read = Callable[[UnitKey], bytes]
"""Gives a unit's payload, checked."""


class Payloads:
    """Payloads of an archive, for threads.

    Parameters
    ----------
    reader : ArchiveReader
    """

    def __init__(self, reader: ArchiveReader) -> None:
        self._reader = reader
        self._guard = threading.Lock()

    def reading(self, keys: Iterable[UnitKey]) -> Read:
        """Fetch units together; give a function that reads those, and any others one by one.

        Parameters
        ----------
        keys : iterable of UnitKey
            Those that the archive lacks are passed over.
        """
        units = self._reader.units
        held: dict[UnitKey, bytes] = {}
        asked = [key for key in dict.fromkeys(keys) if key in units]
        if asked:
            with self._guard:
                self._reader.prefetch(asked)
                held = {key: self._reader.read(key) for key in asked}
                self._reader.prefetch([])  # what was fetched is in `held` now

        def read(key: UnitKey) -> bytes:
            if key in held:
                return held[key]
            if key not in units:
                raise CorruptError(f"{self._reader.describe(key)}: missing; copy the archive again")
            return self._reader.read(key)

        return read
