"""Reading of units, several at a time: what is broken, and what that takes along."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from stvc.archive import UnitKey
from stvc.codec.structure import Link
from stvc.errors import CorruptError

if TYPE_CHECKING:
    from stvc.archive import ArchiveReader

Damage = Callable[[str], None]
T = TypeVar("T")
Spread = Callable[..., Iterator[Any]]
"""``map``, or one that works on several units at once."""


@dataclass(frozen=True)
class Job(Generic[T]):
    """A unit to decode."""

    key: UnitKey
    link: Link
    """Frames whose unit of the same place must be whole."""
    decode: Callable[[bytes], T]
    needs: tuple[UnitKey, ...] = ()
    """Further units that must be whole."""


class Units:
    """Reads and decodes units; remembers what is broken, and with it what is predicted from it."""

    def __init__(self, reader: ArchiveReader, on_damage: Damage | None) -> None:
        self.reader = reader
        self._on_damage = on_damage
        self._broken: set[UnitKey] = set()

    def attempt(self, job: Job[T]) -> T | None:
        """Decode a unit; None if it, or one that it is predicted from, is damaged."""
        (found,) = self.attempts([job], map)
        return found

    def attempts(self, jobs: Sequence[Job[T]], spread: Spread) -> Iterator[T | None]:
        """`attempt` several units that do not need each other.

        Payloads are read and damage is told here, in order; ``spread`` may run the decoding of
        several units at once.
        """
        payloads = [self._payload(job) for job in jobs]
        decoded = spread(_outcome, payloads, [job.decode for job in jobs])
        for job, outcome in zip(jobs, decoded, strict=True):
            yield self.settle(job.key, outcome)

    def settle(self, key: UnitKey, outcome: T | CorruptError) -> T | None:
        """Give what a unit was decoded to; None if it is damaged, which is told and remembered.

        Raises
        ------
        CorruptError
            If the unit is damaged and nobody is to be told.
        """
        if not isinstance(outcome, CorruptError):
            return outcome
        error = outcome
        if not isinstance(error, _UnreadError):
            error = CorruptError(f"{self.reader.describe(key)}: {error}")
        if self._on_damage is None:
            raise error from None
        self._broken.add(key)
        self._on_damage(str(error))
        return None

    def _payload(self, job: Job[T]) -> bytes | CorruptError:
        """Bytes of a unit, or why it cannot be decoded."""
        key = job.key
        if self._broken & {*(key._replace(frame=k) for k in job.link), *job.needs}:
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
