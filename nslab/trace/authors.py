"""Who wrote the rules and the routes that a packet meets: a component of the lab, or somebody by hand (pure)."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

from nslab.objects.iptables import Chain, Jump
from nslab.objects.names import netns
from nslab.objects.nft import NftChain
from nslab.objects.process import Bird
from nslab.objects.routes import Route
from nslab.ruletext.comments import without_comment

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from nslab.objects.base import State
    from nslab.trace.observed import Match, RouteTaken

BY_HAND = "not the lab's"
BIRD = "BIRD"

RulePlace: TypeAlias = "tuple[str, str, str]"
"""Namespace, table, chain."""


class Authors:
    """Answers by a lab's State. `listed`: its chains of nft, as this machine's nft lists their rules.

    `others`: who wrote what is not in the State.
    """

    def __init__(
        self,
        lab: str,
        state: State,
        listed: Mapping[RulePlace, Collection[str]] = MappingProxyType({}),
        others: str = BY_HAND,
    ) -> None:
        self._lab, self._listed, self._others = lab, listed, others
        self._chains: dict[RulePlace, str] = {}
        self._rules: dict[tuple[RulePlace, str], str] = {}
        self._routes: dict[tuple[str, str, str], str] = {}
        self._speaking: set[str] = set()
        for obj in state:
            match obj:
                case Chain() | NftChain():
                    place = obj.ns, obj.table, obj.name
                    self._chains[place] = obj.by
                    for rule in obj.rules:
                        self._rules[place, without_comment(rule)] = obj.by
                case Jump():
                    self._rules[(obj.ns, obj.table, obj.chain), without_comment(obj.rule)] = obj.by
                case Route():
                    self._routes[obj.ns, str(obj.to), str(obj.via or "")] = obj.by
                case Bird():
                    self._speaking.add(obj.ns)

    def of_rule(self, host: str, match: Match) -> str:
        """Who wrote a rule."""
        place = netns(self._lab, host), match.table, match.chain
        known = self._chains.get(place, "")
        if by := self._rules.get((place, match.rule)):
            return by
        if not match.rule:
            return known
        # nft lists rules otherwise than they are written.
        of_nft = known and not match.rule.startswith("-")
        return known if of_nft and match.rule in self._listed.get(place, [match.rule]) else self._others

    def of_route(self, host: str, route: RouteTaken) -> str:
        """Who wrote a route; the kernel makes those to its own addresses and networks."""
        if route.error or route.kind == "local" or route.protocol == "kernel":
            return "kernel" if not route.error else ""
        ns = netns(self._lab, host)
        others = BIRD if route.protocol == "bird" and ns in self._speaking else self._others
        return self._routes.get((ns, str(route.to), str(route.via or "")), others)
