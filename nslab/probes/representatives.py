"""Which of many failures are looked at closely: those that together show all that the others share (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence
    from typing import TypeAlias

    from nslab.probes.calls import CallResult
    from nslab.probes.probe import ProbeHost, Result

    Trait: TypeAlias = Callable[["Item"], Hashable]
Item = TypeVar("Item")


def representatives(items: Sequence[Item], traits: Sequence[Trait[Item]], most: int) -> list[Item]:
    """At most `most` items, in order: one for each value of the first trait, then of the second, …, then any others."""
    chosen: dict[int, None] = {}
    for trait in (*traits, id):
        seen = {trait(items[at]) for at in chosen}
        for at, item in enumerate(items):
            if len(chosen) < most and (value := trait(item)) not in seen:
                seen.add(value)
                chosen[at] = None
    return [items[at] for at in sorted(chosen)]


def pair_traits(places: Sequence[ProbeHost]) -> list[Trait[Result]]:
    """What failed pairs share: how they fail between two nodes; from a node to a target; from a source."""
    at = {place.name: (place.role, place.node) for place in places}

    def from_node(result: Result) -> Hashable:
        probe = result.probe
        return probe.kind, probe.expected, result.outcome, at.get(probe.source), probe.source == probe.target

    return [
        lambda result: (from_node(result), at.get(result.probe.target)),
        lambda result: (from_node(result), result.probe.target),
        lambda result: (from_node(result), result.probe.source),
    ]


def call_traits() -> list[Trait[CallResult]]:
    """What failed calls share: the Service and the way to it, from a node."""
    return [lambda result: (result.call.column, result.call.node, result.unresolved), lambda result: result.call.node]


def alike(items: Iterable[Item], one: Item, traits: Sequence[Trait[Item]]) -> Item | None:
    """The item that shares most of the traits with `one`; None if none shares any."""

    def shared(other: Item) -> int:
        return sum(trait(other) == trait(one) for trait in traits)

    return max(filter(shared, items), key=shared, default=None)
