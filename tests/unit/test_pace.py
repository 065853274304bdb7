"""Who is asked at a time: no server by more than it has room for, and nobody is forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from nslab.linux.prober import pace

if TYPE_CHECKING:
    from collections.abc import Sequence

SERVERS = st.sampled_from([None, "a", "b"])


@given(st.lists(st.tuples(SERVERS, st.booleans())), st.integers(1, 4))
def test_all_are_asked_once_and_no_server_by_too_many(asked: Sequence[tuple[str | None, bool]], room: int) -> None:
    queue = pace.Queue((at, server, room) for at, (server, _) in enumerate(asked))
    busy: list[int] = []
    seen: list[int] = []
    while queue or busy:
        if queue.ready:
            busy.append(queue.take())
            seen.append(busy[-1])
        for server in ("a", "b"):
            assert sum(asked[at][0] == server for at in busy) <= room + pace.SOME
        if not queue.ready:
            at = busy.pop(0)
            queue.done(asked[at][0], silent=asked[at][1])
    assert sorted(seen) == [*range(len(asked))]


def test_a_server_takes_the_next_one_when_it_has_room() -> None:
    queue = pace.Queue((number, "web", 2) for number in range(3))
    assert (queue.take(), queue.take(), queue.ready, queue.awaits("web")) == (0, 1, False, True)
    queue.done("web")
    assert (queue.take(), queue.awaits("web"), len(queue)) == (2, False, 0)


def test_who_takes_any_number_is_not_waited_for() -> None:
    queue = pace.Queue((number, None, 1) for number in range(3))
    assert [queue.take(), queue.take(), queue.take()] == [0, 1, 2]


def test_a_server_that_is_silent_to_two_in_a_row_is_asked_by_more() -> None:
    queue = pace.Queue((number, "web", pace.ONE) for number in range(40))
    for _ in range(2):
        queue.take()
        assert not queue.ready
        queue.done("web", silent=True)
    for _ in range(1 + pace.SOME):
        queue.take()
    assert not queue.ready
