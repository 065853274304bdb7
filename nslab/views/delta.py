"""What a change did in the kernel: per host and kind, what came, went and changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.net.objects import (
    Chain,
    Control,
    IpSet,
    Jump,
    KubeProxy,
    NftChain,
    NftElement,
    NftSet,
    NftTable,
    RealServer,
    SetMember,
    Sysctl,
    VirtualServer,
)
from nslab.net.steps import Add, Remove
from nslab.path.words import host, thing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.net.objects import Object
    from nslab.net.steps import Plan, Step

_NAMED = 4
"""So many of a kind are named one by one; of more, how many there are and the first."""


def delta(plan: Plan) -> Iterator[str]:
    """A line for each host, verb and kind of thing: `node1  + nat: 9 chains (KUBE-SERVICES, KUBE-NODEPORTS, …)`."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for step in plan:
        kind, name = _told(step.obj)
        groups.setdefault((host(step.obj.ns), _verb(step), kind), []).append(name)
    order = sorted(groups, key=lambda key: (key[0], "-~+".index(key[1])))
    width = max((len(where) for where, _, _ in groups), default=0)
    for where, verb, kind in order:
        yield f"{where.ljust(width)}  {verb} {_listed(kind, groups[where, verb, kind])}"


def _verb(step: Step) -> str:
    match step:
        case Add():
            return "+"
        case Remove():
            return "-"
        case _:
            return "~"


def _told(obj: Object) -> tuple[str, str]:
    """The kind of thing, in the plural, and its name."""
    match obj:
        case Chain():
            return f"chains in table {obj.table}", obj.name
        case Jump():
            return f"rules in {obj.table}'s built-in chains", f"{obj.chain} {_target(obj.rule)}"
        case IpSet():
            return "ipsets", obj.name
        case SetMember():
            return f"members of ipset {obj.set}", obj.member
        case VirtualServer():
            return "IPVS virtual servers", f"{obj.protocol} {obj.service}"
        case RealServer():
            return "IPVS real servers", obj.server
        case NftTable():
            return "nftables tables", f"ip {obj.name}"
        case NftSet():
            return "nftables sets and maps", obj.name
        case NftChain():
            return "nftables chains", obj.name
        case NftElement():
            return f"elements of {obj.set}", obj.element
        case Sysctl():
            return "settings", f"{obj.path.replace('/', '.')}={obj.value}"
        case Control() | KubeProxy():
            return "processes", thing(obj)
        case _:
            return "", thing(obj)


def _target(rule: str) -> str:
    return rule.rpartition("-j ")[2]


def _listed(kind: str, names: list[str]) -> str:
    if not kind or len(names) == 1:
        return f"{kind}: {', '.join(names)}" if kind else ", ".join(names)
    shown = ", ".join(names[:_NAMED])
    return f"{len(names)} {kind}: {shown}{', …' if len(names) > _NAMED else ''}"
