"""Observe a lab: read everything in its namespaces back, the lab's objects in the form in which a plan has them.

One walk over the lab's namespaces, and in each over `KINDS`. A reader returns the lab's objects of one kind and the
unmanaged ones; it leaves out what every namespace has from the start. A new kind of object is a line in `KINDS`.

Interfaces and chains are found by the lab's names for them. Addresses, routes, entries, members and settings are taken
as they are, on the lab's interfaces and in its sets, so that unmanaged ones show, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.dataclass import dataclass, field
from nslab.linux.netlink import batch as netlink
from nslab.linux.netns import named
from nslab.linux.observe import inet, links, mdb, nexthops, processes, qdiscs, rules, settings, xfrm
from nslab.linux.observe.place import Fresh, ObservedNamespace
from nslab.objects import interfaces as objects_interfaces
from nslab.objects import links as objects_links
from nslab.objects import namespaces
from nslab.wire import netlink as wire

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping, Sequence, Set

    from nslab.linux.cni.plugins import Plugins
    from nslab.linux.netns import Namespaces
    from nslab.linux.observe.place import Found, Settings
    from nslab.linux.processes.procs import Record
    from nslab.objects.base import KernelObject, State
    from nslab.objects.interfaces import Interface
    from nslab.objects.unmanaged import Unmanaged


@dataclass(frozen=True, slots=True)
class ObservedKind:
    """One kind of object in a namespace, and its reader. `made_by_labs`: a lab can have such objects."""

    name: str
    read: Callable[[ObservedNamespace], Found]
    made_by_labs: bool = True


KINDS = (
    ObservedKind("processes", processes.processes, made_by_labs=False),
    ObservedKind("sockets", processes.sockets, made_by_labs=False),
    ObservedKind("iptables", rules.iptables),
    ObservedKind("nft tables", rules.nft_tables),
    ObservedKind("ipsets", rules.ipsets),
    ObservedKind("IPVS servers", rules.ipvs_servers),
    ObservedKind("qdiscs and filters", qdiscs.qdiscs, made_by_labs=False),
    ObservedKind("XFRM policies", xfrm.policies, made_by_labs=False),
    ObservedKind("XDP programs", links.programs, made_by_labs=False),
    ObservedKind("routing rules", inet.rules, made_by_labs=False),
    ObservedKind("routes", inet.routes),
    ObservedKind("nexthops", nexthops.nexthops, made_by_labs=False),
    ObservedKind("neighbours", inet.neighbour_entries),
    ObservedKind("forwarding entries", inet.forwarding_entries),
    ObservedKind("multicast groups", mdb.entries, made_by_labs=False),
    ObservedKind("addresses", inet.addresses),
    ObservedKind("settings", settings.settings),
    ObservedKind("states of interfaces", links.states),
    ObservedKind("attributes of interfaces", links.attributes, made_by_labs=False),
    ObservedKind("interfaces", links.others, made_by_labs=False),
)
"""Everything that a network namespace consists of, in the order in which it is taken away."""


@dataclass(slots=True)
class Observation:
    """`have`: what is there of a lab's objects. `unmanaged`: what is others', in the order of `KINDS`."""

    have: list[KernelObject] = field(default_factory=list)
    unmanaged: list[Unmanaged] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Running:
    """Who runs in a lab. `others`: processes of nobody's; `sockets`: the numbers of those that the lab's own hold."""

    others: Sequence[Record] = ()
    sockets: Set[int] = frozenset()


def observe(
    spaces: Namespaces,
    lab: str,
    known: State,
    iptables: str,
    plugins: Plugins | None = None,
    running: Running | None = None,
) -> Observation:
    """The kernel's objects of a lab, without processes. `known`: the objects that may exist, desired or older.

    Without `running`, only what labs make is looked for, and settings only where the lab has something to say of them.
    """
    seen = Observation()
    existing = named(lab)
    by_ns: dict[str, list[KernelObject]] = {ns: [] for ns in existing}
    for obj in {obj.key: obj for obj in known}.values():
        by_ns.get(obj.ns, []).append(obj)
    found = {ns: interfaces(spaces.route_socket(ns)) for ns in existing}
    devices_of = _device_names(known)
    theirs = plugins.interfaces() if plugins else {}
    fresh = fresh_namespace(spaces)
    now = _settings(spaces, existing, fresh) if running else {}
    who = running or Running()
    kinds = KINDS if running else [kind for kind in KINDS if kind.made_by_labs]
    for ns in existing:
        seen.have += [namespaces.seen(ns), *objects_links.seen(by_ns[ns], found)]
        ours = (devices_of.get(ns, set()) & found[ns].keys()) | {"lo"}
        names = {link.index: name for name, link in found[ns].items()}
        place = ObservedNamespace(
            spaces=spaces,
            ns=ns,
            fresh=fresh,
            interfaces=found[ns],
            known=by_ns[ns],
            ours=ours,
            plugins=theirs.get(ns, set()),
            settings=now,
            processes=[record for record in who.others if record.ns == ns],
            sockets=who.sockets,
            iptables=iptables,
            names=names,
            devices={index: name for index, name in names.items() if name in ours},
        )
        for kind in kinds:
            spaces.enter(ns)
            mine, others = kind.read(place)
            seen.have += mine
            seen.unmanaged += others
    seen.have += objects_links.strays(seen.have, known, found)
    spaces.home()
    if plugins:
        seen.have += plugins.look(known, found)
    return seen


def interfaces(sock: socket.socket) -> dict[str, Interface]:
    """The interfaces of a namespace, by name."""
    return objects_interfaces.interfaces(netlink.dump(sock, wire.GETLINK, wire.link_header()))


def fresh_namespace(spaces: Namespaces) -> Fresh:
    """What a namespace begins with, seen in one that nobody else sees."""
    with spaces.throwaway() as sock:
        return Fresh(settings.read_settings(settings.paths()), interfaces(sock), inet.policy_rules(sock))


def _settings(spaces: Namespaces, there: Sequence[str], fresh: Fresh) -> dict[str, Settings]:
    found: dict[str, Settings] = {}
    for ns in there:
        spaces.enter(ns)
        found[ns] = settings.read_settings(fresh.settings)
    return found


def _device_names(known: State) -> Mapping[str, set[str]]:
    """The interfaces that a lab makes, by namespace; a veth pair has two ends."""
    found: dict[str, set[str]] = {}
    for obj in known:
        for key in obj.provides:
            if key[0] == "Device":
                found.setdefault(key[1], set()).add(key[2])
    return found
