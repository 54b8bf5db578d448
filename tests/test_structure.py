"""Coding order and links: every frame decodes from a few others that are there before it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stvc.codec.structure import (
    GROUP,
    MAX_CHAIN,
    MAX_CLOSURE,
    Link,
    Planned,
    chain,
    closure,
    plan_frames,
    walk_to,
)


def check(known: list[Link], times: list[int], plan: list[Planned], new: list[int]) -> list[Link]:
    """A valid plan: each new frame once, linked only to frames that are coded before it."""
    assert sorted(p.position for p in plan) == list(range(len(new)))
    links = list(known)
    when = list(times)
    for planned in plan:
        for k in planned.link:
            assert -1 <= k < len(links)
        before, after = planned.link
        time = new[planned.position]
        assert before < 0 or when[before] <= time
        assert after < 0 or when[after] > time
        links.append(planned.link)
        when.append(time)
        assert len(closure(len(links) - 1, links)) <= 2 * MAX_CLOSURE
    return links


def test_generation_one_is_a_chain() -> None:
    assert chain(5, 3) == [Link(-1), Link(0), Link(1), Link(-1), Link(3)]


def test_a_batch_is_coded_coarse_to_fine() -> None:
    n = 40
    plan = plan_frames([], [], range(n), [1.0] * n)
    links = check([], [], plan, list(range(n)))
    assert [p.position for p in plan[:4]] == [0, 16, 8, 4]
    assert plan[0].link == Link(-1, -1)
    assert plan[1].link == Link(0, -1)
    assert plan[2].link == Link(0, 1)
    assert sum(p.link.after >= 0 for p in plan) == n - 4
    sizes = [len(closure(k, links)) for k in range(n)]
    assert max(sizes) <= 4 + 1 + 4 + 1
    # ^ group ends on both sides, four levels in between


def test_long_series_start_anew_now_and_then() -> None:
    n = 500
    plan = plan_frames([], [], range(n), [1.0] * n)
    links = check([], [], plan, list(range(n)))
    assert max(len(closure(k, links)) for k in range(n)) <= 10
    fresh = [k for k, link in enumerate(links) if link == Link()]
    assert 4 <= len(fresh) <= 10


def test_dates_that_come_one_by_one_are_chained() -> None:
    links: list[Link] = []
    times: list[int] = []
    for t in range(100):
        (planned,) = plan_frames(times, links, [t], [1.0])
        links = check(links, times, [planned], [t])
        times.append(t)
    assert links[1:MAX_CHAIN] == [Link(k) for k in range(MAX_CHAIN - 1)]
    assert max(len(closure(k, links)) for k in range(100)) <= MAX_CHAIN
    assert all(k - link.before <= 2 * GROUP for k, link in enumerate(links) if link.before >= 0)


def test_hidden_frames_are_nobodys_reference() -> None:
    clear = [1.0 if k % 3 == 0 else 0.02 for k in range(30)]
    plan = plan_frames([], [], range(30), clear)
    links = check([], [], plan, list(range(30)))
    position = [p.position for p in plan]
    used = {position[k] for link in links for k in link if k >= 0}
    assert all(clear[k] > 0.5 for k in used)


def test_a_late_frame_links_to_both_of_its_neighbors() -> None:
    times = [0, 10, 20, 30]
    links = chain(4, 16)
    (planned,) = plan_frames(times, links, [14], [1.0])
    assert planned.link == Link(1, 2)
    (again,) = plan_frames(times, links, [10], [1.0])
    assert again.link == Link(1, 2)


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 400), st.floats(0, 1)), min_size=1, max_size=40),
        min_size=1,
        max_size=6,
    )
)
def test_any_history_stays_decodable(batches: list[list[tuple[int, float]]]) -> None:
    links: list[Link] = []
    times: list[int] = []
    for batch in batches:
        new = dict(batch)
        when = sorted(new)
        plan = plan_frames(times, links, when, [new[t] for t in when])
        links = check(links, times, plan, when)
        times += [when[p.position] for p in plan]
    order = walk_to(range(len(links)), links)
    assert order == list(range(len(links)))


@pytest.mark.parametrize("wanted", [[], [0], [5, 3], [39]])
def test_a_walk_holds_all_that_it_needs_and_no_more(wanted: list[int]) -> None:
    plan = plan_frames([], [], range(40), np.linspace(0, 1, 40).tolist())
    links = [p.link for p in plan]
    walk = walk_to(wanted, links)
    assert walk == sorted(walk)
    assert set(wanted) <= set(walk)
    needed = set(wanted)
    for frame in reversed(walk):
        assert frame in needed
        needed |= {k for k in links[frame] if k >= 0}
    assert needed == set(walk)
