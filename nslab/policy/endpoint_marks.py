"""Felix's chains beside kube-proxy's IPVS mode, in which packets through a Service pass INPUT and OUTPUT, not FORWARD.

OUTPUT cannot ask by which interface a packet came. So INPUT marks it with its pod's number, and OUTPUT asks that pod's
egress policies by the mark; IPVS has put in the endpoint's address by then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.policy import names
from nslab.policy.release import ACCEPT as ACCEPT_BIT
from nslab.policy.rule import (
    ACCEPT,
    DROP,
    RETURN,
    FelixRule,
    came_by,
    clear_bits,
    goto,
    has,
    has_any,
    has_value,
    in_set,
    jump,
    leaves_by,
    not_in_set,
    ports,
    protocol,
    put_bits,
    state,
)
from nslab.policy.workload import CHAIN, UNKNOWN_INTERFACE, WORKLOADS, tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nslab.policy.release import Release

NODE_PORTS = "30000:32767"
_SET, _FROM = "cali-set-endpoint-mark", "cali-from-endpoint-mark"
_CHECK, _FORWARD = "cali-forward-check", "cali-forward-endpoint-mark"
_NO_POD = 1
"""The number of what is no pod of the node."""
_FNV_OFFSET, _FNV_PRIME = 0x811C9DC5, 0x01000193


def numbers(release: Release, interfaces: Sequence[str]) -> dict[str, int]:
    """The number of each pod's interface: a hash of its name, or the next that is free. 0 means unmarked."""
    room, taken = release.endpoint_bits // _lowest(release) + 1, {0, _NO_POD}
    found: dict[str, int] = {}
    for name in sorted(interfaces):
        start = _fnv(name)
        number = next(one % room for one in range(start, start + room) if one % room not in taken)
        taken.add(number)
        found[name] = number
    return found


def chains(release: Release, interfaces: Sequence[str]) -> Iterator[tuple[str, list[FelixRule]]]:
    """Names and rules of the chains, those of pods first."""
    marks = {name: number * _lowest(release) for name, number in numbers(release, interfaces).items()}
    for name, mark in marks.items():
        yield f"cali-sm-{name}", [FelixRule((), put_bits(mark, release.endpoint_bits))]
    ends = [
        FelixRule((came_by(WORKLOADS),), DROP, "Unknown endpoint"),
        FelixRule((), put_bits(_NO_POD * _lowest(release), release.endpoint_bits), "Non-Cali endpoint mark"),
    ]
    yield from tree(_SET, interfaces, came_by, "cali-sm-", ends, child_ends=[])
    by_mark = (
        FelixRule((has_value(mark, release.endpoint_bits),), goto(CHAIN["egress"] + name))
        for name, mark in marks.items()
    )
    yield _FROM, [*by_mark, UNKNOWN_INTERFACE]
    yield _CHECK, [*_check()]
    yield _FORWARD, [*_forward(release)]


def on_input(release: Release) -> Iterator[FelixRule]:
    """In cali-INPUT: what IPVS may take gets its mark, and is spared the rules for packets to the node."""
    yield FelixRule((), clear_bits(release.endpoint_bits))
    yield FelixRule((), jump(_CHECK))
    yield FelixRule((has_any(release.endpoint_bits),), RETURN)


def on_output(release: Release) -> FelixRule:
    """In cali-OUTPUT: what IPVS forwards is treated as in FORWARD."""
    return FelixRule((has_any(release.endpoint_bits),), goto(_FORWARD))


def _check() -> Iterator[FelixRule]:
    own = names.ipset("this-host")
    yield FelixRule((state("RELATED,ESTABLISHED"),), RETURN)
    for word in ("tcp", "udp"):
        matches = (protocol(word), ports(NODE_PORTS), in_set(own, "dst"))
        yield FelixRule(matches, goto(_SET), "To kubernetes NodePort service")
    yield FelixRule((not_in_set(own, "dst"),), jump(_SET), "To kubernetes service")


def _forward(release: Release) -> Iterator[FelixRule]:
    yield FelixRule((has_value(_NO_POD * _lowest(release), release.endpoint_bits, inverted=True),), jump(_FROM))
    yield FelixRule((leaves_by(WORKLOADS),), jump("cali-to-wl-dispatch"))
    yield FelixRule((), jump("cali-to-hep-forward"))
    # The packet may be encapsulated and pass OUTPUT once more, with the mark that it has here.
    yield FelixRule((), clear_bits(release.endpoint_bits))
    yield FelixRule((has(ACCEPT_BIT),), ACCEPT, "Policy explicitly accepted packet.")


def _lowest(release: Release) -> int:
    return release.endpoint_bits & -release.endpoint_bits


def _fnv(name: str) -> int:
    """The 32-bit FNV-1 hash."""
    found = _FNV_OFFSET
    for byte in name.encode():
        found = found * _FNV_PRIME & 0xFFFFFFFF ^ byte
    return found
