"""A NetworkPolicy in detail: the lines of `kubectl describe networkpolicy`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nslab.api.cells import NONE, selector
from nslab.api.words import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    Object = dict[str, Any]

_WAYS = (("Ingress", "from", "source"), ("Egress", "to", "destination"))
"""A policy's type, the field of a rule that has the peers, and what these are to a packet."""


def policy_lines(spec: Object) -> Iterator[str]:
    """Whom a policy selects and whom its rules allow, by direction."""
    every = "" if spec.get("podSelector") else " (Allowing the specific traffic to all pods in this namespace)"
    yield printable(f"  PodSelector:     {selector(spec.get('podSelector'))}{every}")
    types = spec.get("policyTypes", ())
    for way, field, end in _WAYS:
        direction = way.lower()
        if way not in types:
            yield f"  Not affecting {direction} traffic"
            continue
        yield f"  Allowing {direction} traffic:"
        rules = spec.get(direction) or ()
        if not rules:
            yield f"    {NONE} (Selected pods are isolated for {direction} connectivity)"
        for number, rule in enumerate(rules):
            yield from ["    ----------"] if number else []
            yield from (f"    {printable(line)}" for line in (*_ports(rule), *_peers(rule, field, end)))
    yield f"  Policy Types: {', '.join(types)}"


def _ports(rule: Object) -> Iterator[str]:
    for one in rule.get("ports") or ():
        port, protocol = one.get("port", ""), one.get("protocol", "TCP")
        last = one.get("endPort")
        yield f"To Port Range: {port}-{last}/{protocol}" if last else f"To Port: {port}/{protocol}"
    if not rule.get("ports"):
        yield "To Port: <any> (traffic allowed to all ports)"


def _peers(rule: Object, field: str, end: str) -> Iterator[str]:
    for peer in rule.get(field) or ():
        yield f"{field.capitalize()}:"
        if block := peer.get("ipBlock"):
            yield from ("  IPBlock:", f"    CIDR: {block['cidr']}", f"    Except: {', '.join(block.get('except', ()))}")
        for name in ("namespaceSelector", "podSelector"):
            if name in peer:
                yield f"  {name[0].upper()}{name[1:]}: {selector(peer[name])}"
    if not rule.get(field):
        yield f"{field.capitalize()}: <any> (traffic not restricted by {end})"
