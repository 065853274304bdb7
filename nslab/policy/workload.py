"""The chains of pods: what a packet from or to a pod goes through, and how it comes there."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import TYPE_CHECKING

from nslab.policy.nft_rule import nft_signed
from nslab.policy.release import ACCEPT, PASS
from nslab.policy.rule import (
    ACCEPT as ACCEPT_IT,
)
from nslab.policy.rule import (
    DROP,
    RETURN,
    FelixRule,
    came_by,
    clear_bits,
    goto,
    has,
    jump,
    lacks,
    leaves_by,
    ports,
    protocol,
    set_bits,
    signed,
    state,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from nslab.policy.model import Direction, WorkloadEndpoint
    from nslab.policy.release import Release
    from nslab.policy.rule import RulePart
    from nslab.ruletext.items import Body

VXLAN_PORT = "4789"
WORKLOADS = "cali+"
"""All interfaces of pods."""
CHAIN: dict[Direction, str] = {"ingress": "cali-tw-", "egress": "cali-fw-"}
DISPATCH: dict[Direction, str] = {"ingress": "cali-to-wl-dispatch", "egress": "cali-from-wl-dispatch"}
PROFILE: dict[Direction, str] = {"ingress": "cali-pri-", "egress": "cali-pro-"}
UNKNOWN_INTERFACE = FelixRule((), DROP, "Unknown interface")
_ENCAPSULATED = (
    ("VXLAN", (protocol("17"), ports(VXLAN_PORT))),
    ("IPinIP", (protocol("4"),)),
)


@lru_cache(maxsize=4096)
def workload_body(
    release: Release, interface: str, direction: Direction, groups: tuple[str, ...], profiles: tuple[str, str]
) -> Body:
    """The signed rules of a pod's chain, which most changes leave as they were, on a node of hundreds of pods.

    `groups`: the chains of the policies that isolate it in the direction; none: all may pass.
    """
    name, rules = CHAIN[direction] + interface, workload_rules(release, direction, groups, profiles)
    return nft_signed("filter", f"filter-{name}", rules) if release.nftables else signed(name, rules)


def workload_rules(
    release: Release, direction: Direction, groups: Sequence[str], profiles: Iterable[str]
) -> Iterator[FelixRule]:
    """The rules of a pod's chain (see `workload_body`)."""
    yield FelixRule((state("RELATED,ESTABLISHED"),), ACCEPT_IT)
    yield FelixRule((state("INVALID"),), DROP)
    yield FelixRule((), clear_bits(ACCEPT | PASS))
    if direction == "egress":
        for name, matches in _ENCAPSULATED:
            yield FelixRule(matches, DROP, f"Drop {name} encapped packets originating in workloads")
    if groups:
        yield FelixRule((), clear_bits(PASS), release.tier_start)
        for chain in groups:
            yield FelixRule((lacks(PASS),), jump(chain))
            yield FelixRule((has(ACCEPT),), RETURN, "Return if policy accepted")
        yield FelixRule((lacks(PASS),), DROP, release.tier_end)
    for profile in profiles:
        yield FelixRule((), jump(release.chain(PROFILE[direction], profile)))
        yield FelixRule((has(ACCEPT),), RETURN, "Return if profile accepted")
    yield FelixRule((), DROP, "Drop if no profiles matched")


def profiles(workload: WorkloadEndpoint) -> tuple[str, str]:
    """The profiles of a pod's namespace, which allows all, and of its service account."""
    return f"kns.{workload.namespace}", f"ksa.{workload.namespace}.{workload.service_account}"


def profile_rule(profile: str, direction: Direction) -> FelixRule:
    """The only rule of a profile's chain."""
    target = set_bits(ACCEPT) if profile.startswith("kns.") else None
    return FelixRule((), target, f"Profile {profile} {direction}")


def dispatch(interfaces: Sequence[str], direction: Direction) -> Iterator[tuple[str, list[FelixRule]]]:
    """The chains that lead to the pods' chains, by interface: a tree, so that no list is long."""
    ask, ends = leaves_by if direction == "ingress" else came_by, [UNKNOWN_INTERFACE]
    return tree(DISPATCH[direction], interfaces, ask, CHAIN[direction], ends, child_ends=ends)


def tree(
    root: str,
    interfaces: Sequence[str],
    ask: Callable[[str], RulePart],
    prefix: str,
    ends: Sequence[FelixRule],
    *,
    child_ends: Sequence[FelixRule],
) -> Iterator[tuple[str, list[FelixRule]]]:
    """The chains that lead to a chain of each interface, named `prefix` and the interface: a tree of two levels.

    `ask`: the match of an interface. `ends`, `child_ends`: the last rules of the root, and of its children.
    """
    bins: dict[str, list[str]] = {}
    length = len(os.path.commonprefix(interfaces)) + 1  # noqa: RUF071 - names are no paths
    for name in sorted(interfaces):
        bins.setdefault(name[:length], []).append(name)
    rules: list[FelixRule] = []
    for start, some in bins.items():
        to = [FelixRule((ask(name),), goto(prefix + name)) for name in some]
        if len(to) > 1:
            child = f"{root}-{start[length - 1 :]}"
            yield child, [*to, *child_ends]
            to = [FelixRule((ask(f"{start}+"),), goto(child))]
        rules += to
    yield root, [*rules, *ends]
