"""Hints by the zones' shares of processors, held against what the topology cache's documentation says."""

from __future__ import annotations

from collections import Counter

import pytest

from nslab.proxy.topology import allocations, zone_hints


def hints(placed: str, shares: str) -> str:
    """The zones of hints for endpoints in these zones, a letter each."""
    ends = {str(number): zone.strip("-") for number, zone in enumerate(placed)}
    return "".join(zone_hints(ends, shares).values())


@pytest.mark.parametrize(
    ("placed", "shares", "hinted"),
    [
        ("ab", "ab", "ab"),
        ("aabb", "ab", "aabb"),
        ("a", "ab", ""),
        ("ab", "abc", ""),
        ("aaaa", "aa", ""),
        ("a-b", "ab", ""),
        # Two zones of one share: the fourth endpoint of a is for b.
        ("aaab", "ab", "baab"),
        ("aaaa", "ab", "bbaa"),
        ("aaaaaa", "abc", "bbccaa"),
        # Half an endpoint too many stays where it is.
        ("aab", "ab", ""),
        ("aaabb", "ab", ""),
        ("aaaaabbbb", "ab", "aaaaabbbb"),
        # Three of four nodes are in a: it needs three of four endpoints.
        ("abbb", "aaab", "aaab"),
    ],
)
def test_each_zone_gets_its_share(placed: str, shares: str, hinted: str) -> None:
    assert hints(placed, shares) == hinted


def test_a_zone_may_have_a_fifth_too_much() -> None:
    """With n endpoints in two zones, each needs n/2 / 1.2 of them, rounded up."""
    possible = {number for number in range(2, 14) if allocations(number, Counter("ab"))}
    assert possible == {2, 4, 6, 7, 8, 9, 10, 11, 12, 13}
