"""In which order frames are coded, and from which frames each one is predicted.

A batch of dates is coded coarse to fine in time, as video codecs do: the ends of groups of sixteen
dates first, each from the one before, then the middle of each gap from both of its ends. A date is
thus predicted from before and after, and decoding one needs few others. Dates that come one by one
are chained to the last. Frames keep the links they were coded with for ever; new frames may link
to any older ones, so that appending never touches what is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

GROUP = 16
"""Dates from one group's end to the next."""
MAX_ENDS = 4
"""Group ends that are chained before one starts anew."""
MAX_CHAIN = 16
"""Single dates that are chained before one links further back."""
MAX_CLOSURE = 24
"""Frames that decoding one frame may take, itself not counted."""
_STALE = 2 * GROUP
_SOLID = 0.1
"""Clear share below which a frame is not worth being linked to."""
_OFF_CENTER = 1.5
"""Clear share that a frame must have more than another to be chosen half a gap off the middle."""


class Link(NamedTuple):
    """The frames that one is predicted from, by index in the archive; -1 for none."""

    before: int = -1
    after: int = -1


class Planned(NamedTuple):
    """The next frame to code."""

    position: int
    """In the batch."""
    link: Link


def chain(frames: int, interval: int) -> list[Link]:
    """Links of generation 1: each frame to the one before it, none at every ``interval``-th."""
    return [Link(k - 1 if k % interval else -1) for k in range(frames)]


def closure(frame: int, links: Sequence[Link]) -> set[int]:
    """All frames that decoding one takes, itself included."""
    found: set[int] = set()
    waiting = [frame]
    while waiting:
        k = waiting.pop()
        if k >= 0 and k not in found:
            found.add(k)
            waiting += links[k]
    return found


def walk_to(frames: Iterable[int], links: Sequence[Link]) -> list[int]:
    """All frames to decode in order to decode some, ascending."""
    return sorted(set().union(*(closure(k, links) for k in frames)))


def plan_frames(
    known_times: Sequence[int],
    known_links: Sequence[Link],
    times: Sequence[int],
    clear_shares: Sequence[float],
) -> list[Planned]:
    """Order a batch of new frames and link them.

    Parameters
    ----------
    known_times : sequence of int
        Of the frames that the archive holds, in its order.
    known_links : sequence of Link
    times : sequence of int
        Of the new frames, ascending.
    clear_shares : sequence of float
        Of the new frames, 0 to 1.

    Returns
    -------
    list of Planned
        In coding order.
    """
    plan = _Plan(list(known_times), list(known_links), times, clear_shares)
    last = max(known_times, default=None)
    late = [k for k, t in enumerate(times) if last is not None and t <= last]
    for k in late:
        plan.insert(k)
    plan.extend([k for k in range(len(times)) if k not in set(late)])
    return plan.planned


class _Plan:
    def __init__(
        self,
        times: list[int],
        links: list[Link],
        new_times: Sequence[int],
        clear: Sequence[float],
    ) -> None:
        self.times, self.links = times, links
        self.new_times, self.clear = new_times, clear
        self.planned: list[Planned] = []

    def code(self, position: int, before: int, after: int = -1) -> int:
        """Add a frame; returns its index in the archive."""
        link = Link(before, after)
        self.planned.append(Planned(position, link))
        self.times.append(self.new_times[position])
        self.links.append(link)
        return len(self.links) - 1

    def cost(self, *frames: int) -> int:
        """Frames to decode before one that links to these."""
        return len(set().union(*(closure(k, self.links) for k in frames if k >= 0)))

    def insert(self, position: int) -> None:
        """Code a frame that lies among those of the archive."""
        time = self.new_times[position]
        older = [k for k, t in enumerate(self.times) if t <= time]
        newer = [k for k, t in enumerate(self.times) if t > time]
        before = max(older, key=lambda k: (self.times[k], k), default=-1)
        after = min(newer, key=lambda k: (self.times[k], -k), default=-1)
        if self.cost(before, after) > MAX_CLOSURE:
            after = -1
        self.code(position, before if self.cost(before) <= MAX_CLOSURE else -1, after)

    def extend(self, positions: list[int]) -> None:
        """Code the frames behind the archive's last."""
        last = max(range(len(self.times)), key=lambda k: (self.times[k], k), default=-1)
        rest = positions
        if last < 0 and rest:
            start = max(range(min(3, len(rest))), key=lambda k: (round(self.clear[rest[k]], 2), -k))
            last = self.code(rest[start], -1)
            self.fill(rest[:start], -1, last)
            rest = rest[start + 1 :]
        while rest:
            if len(rest) <= 2:
                coded = self.code(rest[0], self.anchor(last, MAX_CHAIN))
                last = coded if self.clear[rest[0]] >= _SOLID or last < 0 else last
                rest = rest[1:]
                continue
            size = min(GROUP, len(rest))
            ends = range(max(size - 3, 0), size)
            end = max(ends, key=lambda k: (round(self.clear[rest[k]], 2), k))
            ahead = self.code(rest[end], self.anchor(last, MAX_ENDS))
            self.fill(rest[:end], last, ahead)
            last, rest = ahead, rest[end + 1 :]

    def anchor(self, last: int, limit: int) -> int:
        """Frame to chain the next one to: the last, or one further back if the chain is long."""
        found = last
        if self.cost(found) >= limit:
            while found >= 0 and self.cost(found) >= MAX_ENDS:
                found = self.links[found].before
        return found if found >= 0 and len(self.links) - found <= _STALE else -1

    def fill(self, positions: list[int], before: int, after: int) -> None:
        """Code the frames between two, coarse to fine; hidden ones last, as nobody needs them."""
        coded: dict[int, int] = {}

        def halve(some: list[int], left: int, right: int) -> None:
            if not some:
                return
            middle = (len(some) - 1) / 2
            pick = max(
                range(len(some)),
                key=lambda k: (self.clear[some[k]] - _OFF_CENTER * abs(k - middle) / len(some), -k),
            )
            coded[some[pick]] = self.code(some[pick], left, right)
            halve(some[:pick], left, coded[some[pick]])
            halve(some[pick + 1 :], coded[some[pick]], right)

        halve([k for k in positions if self.clear[k] >= _SOLID], before, after)
        for position in positions:
            if self.clear[position] < _SOLID:
                left = max((k for k in coded if k < position), default=None)
                right = min((k for k in coded if k > position), default=None)
                self.code(
                    position,
                    before if left is None else coded[left],
                    after if right is None else coded[right],
                )
