"""Who wrote the rules and the routes that a packet meets: a component of the lab, or somebody by hand (pure)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from nslab.objects.inet import Route
from nslab.objects.iptables import Chain, Jump
from nslab.objects.names import netns
from nslab.objects.nft import NftChain

if TYPE_CHECKING:
    from nslab.objects.base import State
    from nslab.trace.observed import Match, RouteTaken

BY_HAND = "not the lab's"
_COMMENT = re.compile(r'-m comment --comment (?:"(?:[^"\\]|\\.)*"|\S+)\s*')


class Authors:
    """Answers by a lab's State."""

    def __init__(self, lab: str, state: State) -> None:
        self._lab = lab
        self._chains: dict[tuple[str, str, str], str] = {}
        self._rules: dict[tuple[str, str, str], str] = {}
        self._routes: dict[tuple[str, str, str], str] = {}
        for obj in state:
            match obj:
                case Chain() | NftChain():
                    self._chains[obj.ns, obj.table, obj.name] = obj.by
                    for rule in obj.rules:
                        self._rules[obj.ns, obj.table, without_comment(rule)] = obj.by
                case Jump():
                    self._rules[obj.ns, obj.table, without_comment(obj.rule)] = obj.by
                case Route():
                    self._routes[obj.ns, str(obj.to), str(obj.via or "")] = obj.by

    def of_rule(self, host: str, match: Match) -> str:
        """Who wrote a rule."""
        ns = netns(self._lab, host)
        if by := self._rules.get((ns, match.table, match.rule)):
            return by
        # kube-proxy's nft rules are listed otherwise than they are written; its chains are its own.
        known = self._chains.get((ns, match.table, match.chain))
        return known if known and not match.rule.startswith("-") else BY_HAND if match.rule else known or ""

    def of_route(self, host: str, route: RouteTaken) -> str:
        """Who wrote a route; the kernel makes those to its own addresses and networks."""
        if route.error or route.kind == "local" or route.protocol == "kernel":
            return "kernel" if not route.error else ""
        return self._routes.get((netns(self._lab, host), str(route.to), str(route.via or "")), BY_HAND)


def without_comment(rule: str) -> str:
    """A rule of iptables-save without its comment."""
    return _COMMENT.sub("", rule).strip()
