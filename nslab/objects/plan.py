"""The verbs, and what is made of them: a plan is the difference between what is there and what is wanted.

diff((), want)      everything, on a clean machine
diff(have, want)    what heals a lab, or changes it live
invert(plan)        takes a plan back
transactions(plan)  the same steps in the kernel's units
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal, TypeAlias, assert_never

from nslab.dataclass import dataclass, replace
from nslab.objects.balance import InTable
from nslab.objects.kinds import (
    Address,
    Attachment,
    Blackhole,
    Bridge,
    Chain,
    Control,
    Dummy,
    Fdb,
    Ipip,
    IpSet,
    Jump,
    Key,
    KubeProxy,
    LinkUp,
    Neighbour,
    Netns,
    NftChain,
    NftElement,
    NftSet,
    NftTable,
    NodeAgent,
    Object,
    Port,
    Process,
    RealServer,
    Route,
    Sandbox,
    SetMember,
    State,
    Sysctl,
    Tun,
    TunnelAgent,
    Veth,
    VirtualServer,
    Vxlan,
    Workload,
    macs,
)

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Add:
    """Make an object that is not there."""

    obj: Object


@dataclass(frozen=True, slots=True)
class Remove:
    """Take an object away."""

    obj: Object


@dataclass(frozen=True, slots=True)
class Replace:
    """Change an object in place, or set what always exists."""

    old: Object
    obj: Object


Step: TypeAlias = Add | Remove | Replace
Plan: TypeAlias = tuple[Step, ...]

Unit: TypeAlias = Literal["netns", "netlink", "tun", "sysctl", "ipset", "iptables", "ipvs", "nft", "cni", "process"]


MOST_STARTS = 256
"""Steps in a transaction that starts processes: a signal waits for its end, and the progress bar moves by it."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """Steps that the kernel takes as one unit: a batch, a restore, a start. `where` is a namespace (and a table)."""

    unit: Unit
    where: tuple[str, ...]
    steps: Plan


# The order of removal, read backwards: nothing is removed before what lies on it.
_RANK = {
    kind: rank
    for rank, kinds in enumerate((
        (Netns,), (Bridge, Veth, Dummy), (Vxlan, Ipip, Tun), (Port,), (Sysctl,), (LinkUp,), (Address,),
        (Neighbour, Fdb), (Route, Blackhole), (IpSet,), (SetMember,), (Chain,), (Jump,),
        (VirtualServer,), (RealServer,), (NftTable,), (NftSet,), (NftChain,), (NftElement,),
        (Control, NodeAgent), (Attachment,), (TunnelAgent, KubeProxy, Sandbox), (Workload,),
    ))
    for kind in kinds
}  # fmt: skip


def diff(have: Iterable[Object], want: State) -> Plan:
    """The steps from `have` to `want`: removals, what lies on top first, then the rest in the order of telling."""
    there = {obj.key: obj for obj in have}
    wanted = {obj.key: obj for obj in want}
    unwanted = {_base(obj, wanted) for key, obj in there.items() if not _may_stay(obj, wanted.get(key))}
    gone = _with_all_on_top(unwanted | _shaken(there, wanted), there)
    removals = [obj for key, obj in there.items() if key in gone and not _goes_by_itself(obj, gone)]
    removals.sort(key=lambda obj: (-_RANK[type(obj)], obj.key))
    # A rule that stays may name a chain or a set until it is changed itself: they are taken away last.
    late = {
        obj.key: obj
        for obj in removals
        if isinstance(obj, Chain | IpSet | NftChain | NftSet | NftTable) and obj.key not in wanted
    }
    steps: list[Step] = [_undo(obj) for obj in removals if obj.key not in late and born(obj) != obj]
    for key, obj in wanted.items():
        old = None if key in gone else there.get(key)
        if old is None:
            steps.append(_do(obj))
        elif old != obj:
            steps.append(Replace(old, obj))
    return (*steps, *map(_undo, late.values()))


def invert(plan: Plan) -> Plan:
    """The plan that takes this plan back: read it backwards, swap the verbs."""
    return tuple(map(_inverse, reversed(plan)))


def transactions(plan: Plan) -> tuple[Transaction, ...]:
    """The plan cut into the kernel's units; the order of the steps stays."""
    cut: list[tuple[Unit, tuple[str, ...], list[Step]]] = []
    for step in plan:
        unit, where = _unit(step.obj)
        if not cut or cut[-1][:2] != (unit, where) or (unit == "process" and len(cut[-1][2]) == MOST_STARTS):
            cut.append((unit, where, []))
        cut[-1][2].append(step)
    return tuple(Transaction(unit, where, tuple(steps)) for unit, where, steps in cut)


def born(obj: Object) -> Object | None:
    """The object as the kernel made it together with its namespace or interface, if the kernel did."""
    match obj:
        case Sysctl(default=default):
            return replace(obj, value=default)
        case Ipip(born=True):
            return obj
        case _:
            return None


def _do(obj: Object) -> Step:
    old = born(obj)
    return Add(obj) if old is None else Replace(old, obj)


def _undo(obj: Object) -> Step:
    old = born(obj)
    return Remove(obj) if old is None else Replace(obj, old)


def _inverse(step: Step) -> Step:
    match step:
        case Add(obj):
            return Remove(obj)
        case Remove(obj):
            return Add(obj)
        case Replace(old, obj):
            return Replace(obj, old)
        case missing:
            assert_never(missing)


_SETTLED_ANEW = (
    Bridge, Ipip, Tun, Port, Neighbour, Fdb, Sysctl, Chain, VirtualServer, RealServer, NftElement,
)  # fmt: skip
"""What can be told everything anew as long as it is there."""


def _changes_in_place(old: Object, new: Object) -> bool:
    """Whether the kernel can turn one into the other; if not, it goes and comes anew, with all that lies on it."""
    match old, new:
        case Veth(), Veth():
            return (old.peer_ns, old.peer) == (new.peer_ns, new.peer)
        case Vxlan(), Vxlan():
            return replace(old, mac=new.mac, mtu=new.mtu) == new
        case _ if isinstance(old, _SETTLED_ANEW):
            return type(old) is type(new)
        case ((Route() | Blackhole()), (Route() | Blackhole())):
            return True
        case NftSet(), NftSet():
            return old.alike(new)
        case NftChain(), NftChain():
            return old.hook == new.hook
    return False


def _may_stay(old: Object, goal: Object | None) -> bool:
    if goal is None:
        return isinstance(old, Ipip) and old.born
    return old == goal or _changes_in_place(old, goal)


def _base(obj: Object, wanted: dict[Key, Object]) -> Key:
    """What must go so that the object can: rules name a set or chain that is to be another, so their table."""
    if isinstance(obj, NftSet | NftChain) and obj.key in wanted:
        return ("NftTable", obj.ns, obj.table)
    return obj.key


def _shaken(there: dict[Key, Object], wanted: dict[Key, Object]) -> set[Key]:
    """What changes in place will take with them: link-layer addresses that are to be others."""
    return {
        end
        for key, old in there.items()
        for end, mac in macs(old).items()
        if (goal := wanted.get(key)) and macs(goal).get(end, mac) != mac
    }


def _with_all_on_top(unwanted: set[Key], there: dict[Key, Object]) -> set[Key]:
    """The keys that go with `unwanted`, since the kernel cascades. Ascending rank sees what is below an object first.

    A process outlives what it lay on, but is of no use then (a container without its pause): it goes, and comes anew.
    With the node's process everything that runs on the node is ended.
    """
    gone = set(unwanted)
    givers = Counter(key for obj in there.values() for key in obj.gives)
    for obj in sorted(there.values(), key=lambda obj: _RANK[type(obj)]):
        orphaned = isinstance(obj, Process) and (
            not all(below in there for below in obj.lies_on) or ("Process", obj.node, NodeAgent.role) in gone
        )
        if orphaned or obj.key in gone or any(below in gone for below in obj.lies_on):
            givers.subtract(obj.gives)
            gone |= {key for key in obj.gives if not givers[key]}
    return gone


def _goes_by_itself(obj: Object, gone: set[Key]) -> bool:
    """Whether the kernel takes it away together with what it lies on.

    Not so a process; nor what CNI plugins keep of an attachment; and a cable to a removed namespace only after a while,
    when its name may be needed again.
    What is in a table of nftables is named all the same, so that the plan can be taken back.
    """
    if isinstance(obj, InTable):
        return ("Netns", obj.ns) in gone
    return not isinstance(obj, Process | Veth | Attachment) and any(below in gone for below in obj.lies_on)


def _unit(obj: Object) -> tuple[Unit, tuple[str, ...]]:
    match obj:
        case Netns():
            return "netns", ()
        case Tun():
            return "tun", (obj.ns,)
        case Sysctl():
            return "sysctl", (obj.ns,)
        case IpSet() | SetMember():
            return "ipset", (obj.ns,)
        case Chain() | Jump():
            return "iptables", (obj.ns, obj.table)
        case VirtualServer() | RealServer():
            return "ipvs", (obj.ns,)
        case NftTable() | NftSet() | NftChain() | NftElement():
            return "nft", (obj.ns,)
        case Attachment():
            return "cni", (obj.node, obj.ns)
        case NodeAgent() | Control() | TunnelAgent() | KubeProxy() | Sandbox() | Workload():
            return "process", ()
        case (
            Veth() | Bridge() | Vxlan() | Ipip() | Port() | LinkUp() | Address() | Route() | Blackhole() | Neighbour()
            | Fdb() | Dummy()
        ):  # fmt: skip
            return "netlink", (obj.ns,)
        case missing:
            assert_never(missing)
