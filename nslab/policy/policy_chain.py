"""The chains of policies: they set the mark's accept bit on what a policy allows, and return."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.policy import names, release
from nslab.policy.converted import converted
from nslab.policy.release import ACCEPT, PASS
from nslab.policy.rule import (
    RETURN,
    FelixRule,
    clear_bits,
    destination,
    has,
    has_any,
    in_set,
    jump,
    lacks,
    ports,
    protocol,
    put_bits,
    set_bits,
    source,
)
from nslab.policy.selectors import of_policy

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nslab.policy.converted import Allowed
    from nslab.policy.model import Direction, NetworkPolicy
    from nslab.policy.release import Release
    from nslab.policy.rule import RulePart

SLOTS = 15
"""What fits into one `multiport` match; a range takes two."""
PREFIX: dict[Direction, str] = {"ingress": "cali-pi-", "egress": "cali-po-"}
GROUP_PREFIX: dict[Direction, str] = {"ingress": "cali-gi-", "egress": "cali-go-"}
RUN = 5
"""How many policies of a group are tried before a packet that is decided returns."""


def chain_name(used: Release, policy: NetworkPolicy, direction: Direction) -> str:
    """The name of a policy's chain."""
    return used.chain(PREFIX[direction], release.key(used, policy))


def policy_rules(used: Release, policy: NetworkPolicy, direction: Direction) -> list[FelixRule]:
    """The rules of a policy's chain. The last needs no RETURN."""
    found = [rule for allowed in converted(policy, direction) for rule in _rules(allowed, used)]
    first, *rest = found[:-1] or [FelixRule()]
    return [first._replace(comment=release.comment(used, policy, direction)), *rest]


def groups(policies: Sequence[NetworkPolicy]) -> list[list[NetworkPolicy]]:
    """Policies in their order; neighbours with the same podSelector are one group."""
    found: list[list[NetworkPolicy]] = []
    for one in policies:
        if found and of_policy(found[-1][0]) == of_policy(one):
            found[-1].append(one)
        else:
            found.append([one])
    return found


def group_name(used: Release, group: list[NetworkPolicy], direction: Direction) -> str:
    """The name of a group's chain; a group of one has none of its own."""
    if len(group) == 1:
        return chain_name(used, group[0], direction)
    words = release.group_words(used, group, of_policy(group[0]), direction)
    return GROUP_PREFIX[direction] + names.group_key(words)


def group_rules(used: Release, group: Sequence[NetworkPolicy], direction: Direction) -> Iterator[FelixRule]:
    """The rules of a group's chain: jumps to its policies, until one of them decides."""
    for number, one in enumerate(group):
        if number and not number % RUN:
            yield FelixRule((has_any(ACCEPT | PASS),), RETURN, "Return on verdict")
        unless = () if not number % RUN else (lacks(ACCEPT | PASS),)
        yield FelixRule(unless, jump(chain_name(used, one, direction)))


def _rules(allowed: Allowed, bits: Release) -> Iterator[FelixRule]:
    """The rules for one allowed kind of connection; what one rule cannot ask, rules before it collect in a bit."""
    ingress, peer, slots = allowed.direction == "ingress", allowed.peer, [*_slots(allowed.numbers)]
    address, end = (source, "src") if ingress else (destination, "dst")
    own = [address(peer.block)] if peer and peer.block else []
    peers = [in_set(names.ipset(allowed.peer_set), end)] if allowed.peer_set else []
    of_protocol = [protocol(allowed.protocol)] if allowed.protocol else []
    asked = [
        *([*of_protocol, ports(text)] for text in slots),
        *([in_set(names.ipset(set_id), "dst,dst")] for set_id in allowed.port_sets),
    ]
    excepts = peer.excepts if peer else ()
    collected = len(asked) > 1 or bool(excepts)
    if collected:
        yield FelixRule((), put_bits(0 if len(asked) > 1 else bits.scratch, bits.scratch | bits.block))
    if len(asked) > 1:
        yield from (FelixRule(tuple(parts), set_bits(bits.scratch)) for parts in asked)
    yield from (FelixRule((address(network),), clear_bits(bits.scratch)) for network in excepts)
    last: list[RulePart] = [*of_protocol, *own, *peers]
    if len(asked) == 1:
        last += [ports(text) for text in slots] or asked[0]
    if collected:
        last.append(has(bits.scratch))
    yield FelixRule(tuple(last), set_bits(ACCEPT))
    yield FelixRule((has(ACCEPT),), RETURN)


def _slots(numbers: Sequence[str]) -> Iterator[str]:
    """Ports and ranges as `multiport` takes them, as many at once as fit."""
    here: list[str] = []
    free = SLOTS
    for number in numbers:
        size = 1 + (":" in number)
        if size > free:
            yield ",".join(here)
            here, free = [], SLOTS
        here.append(number)
        free -= size
    if here:
        yield ",".join(here)
