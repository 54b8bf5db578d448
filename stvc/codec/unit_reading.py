"""Reading of units, a frame's worth at a time: what is broken, and what that takes along."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from stvc.archive import UnitKey
from stvc.codec.structure import Link
from stvc.errors import CorruptError

if TYPE_CHECKING:
    from stvc.archive import ArchiveReader

Damage = Callable[[str], None]
T = TypeVar("T")
Spread = Callable[..., Iterator[Any]]
"""``map``, or one that works on several units at once."""


class Units:
    """Reads and decodes units; remembers what is broken, and with it what is predicted from it."""

    def __init__(self, reader: ArchiveReader, on_damage: Damage | None) -> None:
        self.reader = reader
        self._on_damage = on_damage
        self._broken: set[UnitKey] = set()

    def attempt(
        self, key: UnitKey, link: Link, decode: Callable[[bytes], T], *needs: UnitKey
    ) -> T | None:
        """Decode a unit; None if it, or one that it is predicted from, is damaged."""
        return next(self.attempts([(key, decode, needs)], link, map))

    def attempts(
        self,
        jobs: Sequence[tuple[UnitKey, Callable[[bytes], T], tuple[UnitKey, ...]]],
        link: Link,
        spread: Spread,
    ) -> Iterator[T | None]:
        """`attempt` several units of one frame that do not need each other.

        Payloads are read and damage is told here, in order; ``spread`` may run the decoding of
        several units at once.
        """
        payloads = [self._payload(key, link, needs) for key, _, needs in jobs]
        decoded = spread(_outcome, payloads, [decode for _, decode, _ in jobs])
        for (key, _, _), outcome in zip(jobs, decoded, strict=True):
            if not isinstance(outcome, CorruptError):
                yield outcome
                continue
            error = outcome
            if not isinstance(error, _UnreadError):
                error = CorruptError(f"{self.reader.describe(key)}: {error}")
            if self._on_damage is None:
                raise error from None
            self._broken.add(key)
            self._on_damage(str(error))
            yield None

    def _payload(
        self, key: UnitKey, link: Link, needs: tuple[UnitKey, ...]
    ) -> bytes | CorruptError:
        """Bytes of a unit, or why it cannot be decoded."""
        if self._broken & {*(key._replace(frame=k) for k in link), *needs}:
            return _UnreadError(
                f"{self.reader.describe(key)}: cannot be decoded without the damaged unit "
                "that it is predicted from"
            )
        if key not in self.reader.units:
            return _UnreadError(f"{self.reader.describe(key)}: missing; copy the archive again")
        try:
            return self.reader.read(key)
        except CorruptError as error:
            return _UnreadError(str(error))


class _UnreadError(CorruptError):
    """A unit whose bytes cannot be had; the message names it already."""


def _outcome(payload: bytes | CorruptError, decode: Callable[[bytes], T]) -> T | CorruptError:
    """Decode, with damage as a value: the first in order is to be told, not the first in time."""
    if isinstance(payload, CorruptError):
        return payload
    try:
        return decode(payload)
    except CorruptError as error:
        return error
