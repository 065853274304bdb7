"""Of many failures, those that together show what the others share are followed."""

from __future__ import annotations

from ipaddress import IPv4Address

from hypothesis import given
from hypothesis import strategies as st

from nslab.probes.cause import Cause, CauseKind, as_of, unfollowed
from nslab.probes.probe import Kind, Outcome, Probe, ProbeHost, Result
from nslab.probes.representatives import alike, pair_traits, representatives
from nslab.probes.verdict import advice

PLACES = [
    ProbeHost(f"p{number}", "pod", IPv4Address(f"10.0.0.{number}"), f"node{number % 3}") for number in range(1, 31)
]
EVERY = [
    Result(Probe(source.name, target.name, target.address, Kind.TCP), Outcome.TIMED_OUT)
    for source in PLACES
    for target in PLACES
    if source != target
]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9))), st.integers(0, 12))
def test_each_value_of_a_trait_has_one_before_any_has_two(items: list[tuple[int, int]], most: int) -> None:
    chosen = representatives(items, [lambda item: item[0]], most)
    assert len(chosen) == min(most, len(items))
    firsts = {item[0] for item in items}
    assert len({item[0] for item in chosen}) == min(most, len(firsts))
    rest = iter(items)
    assert all(item in rest for item in chosen), "in order"


def test_of_870_pairs_64_show_each_pair_of_nodes_and_each_target() -> None:
    chosen = representatives(EVERY, pair_traits(PLACES), 64)
    node = {place.name: place.node for place in PLACES}
    assert len(chosen) == 64
    assert len({(node[one.probe.source], node[one.probe.target]) for one in chosen}) == 9
    assert {one.probe.target for one in chosen} == {*node}


def test_who_shares_most_is_most_alike() -> None:
    traits = pair_traits(PLACES)
    pairs = {one.probe.pair: one for one in EVERY}
    others = [pairs["p4", "p3"], pairs["p1", "p5"], pairs["p3", "p2"], pairs["p9", "p7"]]
    assert alike(others, pairs["p7", "p2"], traits) is pairs["p1", "p5"], "between the same nodes"
    assert alike([*others, pairs["p4", "p2"]], pairs["p7", "p2"], traits) is pairs["p4", "p2"], "to the same target"
    assert alike([pairs["p9", "p7"]], pairs["p1", "p2"], traits) is None


def test_what_was_not_followed_says_so() -> None:
    lost = Cause("the packet did not arrive at p2", host="node1")
    hung = Cause("p2's server hangs", CauseKind.SEEN, "p2", seen="last seen at p2")
    assert str(as_of(hung, "p1 to p2")) == "not followed; of p1 to p2, which fails alike: p2's server hangs"
    skipped = unfollowed(lost, 64, 870)
    assert skipped.sentence == "the packet did not arrive at p2; not followed: only 64 of 870 failures were"
    assert advice([skipped]) == "no cause was found, and only some of the failures were followed; packets end at node1"
    assert advice([lost]) == "no cause was found; packets end at node1"
    assert advice([skipped, hung]) == "look at p2"
