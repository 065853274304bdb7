from __future__ import annotations

from dataclasses import replace

from nslab.proxy.model import Endpoint
from nslab.proxy.rotation import Rotation

A, B, C = (Endpoint(f"20.96.1.{number}", 8080) for number in (2, 3, 4))


def in_order(*endpoints: Endpoint, affinity: int = 0) -> Rotation:
    rotation = Rotation(shuffle=lambda _: None)
    rotation.set(endpoints, affinity)
    return rotation


def turns(rotation: Rotation, count: int, client: str = "c", now: float = 0.0) -> list[Endpoint | None]:
    return [rotation.next(client, now) for _ in range(count)]


def test_each_has_its_turn() -> None:
    assert turns(in_order(A, B, C), 7) == [A, B, C, A, B, C, A]


def test_without_endpoints_it_is_nobodys_turn() -> None:
    assert turns(in_order(), 1) == [None]
    assert turns(in_order(replace(A, ready=False)), 1) == [None]


def test_the_order_is_shuffled_when_the_endpoints_change_and_only_then() -> None:
    shuffled: list[int] = []
    rotation = Rotation(shuffle=lambda ends: shuffled.append(len(ends)))
    rotation.set([A, B], 0)
    assert turns(rotation, 1) == [A]
    rotation.set([B, A], 0)  # another order of the same is no change
    assert turns(rotation, 1) == [B]
    rotation.set([A, B, C], 0)
    assert shuffled == [2, 3]
    assert turns(rotation, 1) == [A]


def test_a_client_stays_with_its_endpoint_until_it_has_been_away() -> None:
    rotation = in_order(A, B, C, affinity=60)
    assert turns(rotation, 2, "one") == [A, A]
    assert turns(rotation, 1, "two") == [B]
    assert turns(rotation, 1, "one", now=59.0) == [A]
    assert turns(rotation, 1, "one", now=118.0) == [A]  # each connection begins the time anew
    assert turns(rotation, 1, "one", now=178.0) == [C]


def test_a_client_whose_endpoint_does_not_answer_gets_another_and_keeps_it() -> None:
    rotation = in_order(A, B, affinity=60)
    assert turns(rotation, 1) == [A]
    assert rotation.next("c", 1.0, again=True) == B
    assert turns(rotation, 1, now=2.0) == [B]


def test_affinity_outlives_a_change_but_not_its_endpoint() -> None:
    rotation = in_order(A, B, affinity=60)
    assert (turns(rotation, 1, "one"), turns(rotation, 1, "two")) == ([A], [B])
    rotation.set([C, B], 60)
    assert (turns(rotation, 1, "two"), turns(rotation, 1, "one")) == ([B], [C])
