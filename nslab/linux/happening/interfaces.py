"""Links, addresses, routes, routing rules and neighbours as they change."""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, NamedTuple

from nslab.linux.netlink import batch, words
from nslab.objects.neighbours import NUD_FAILED
from nslab.trace.lab_events.values import EventAction, EventKind, LabEvent
from nslab.wire import netlink as wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nslab.linux.netlink.listener import Notification
    from nslab.linux.netns import Namespaces
    from nslab.trace.lab_events.names import EventNames

_LINK = struct.Struct("=BxHiII")
_NEIGHBOUR = struct.Struct("=BxxxiHBB")
_NAME, _MTU, _MASTER = 3, 4, 10
_DST, _LLADDR = 1, 2
_LOWER_UP = 1 << 16
_LOCAL = 255
_REMOVALS = (wire.DELLINK, wire.DELADDR, wire.DELROUTE, wire.DELRULE, wire.DELNEIGH)


class _KnownLink(NamedTuple):
    """A link. `carrier`: its lower layer is up, too; `master`: the number of its bridge, 0 without one."""

    name: str
    up: bool
    carrier: bool
    mtu: int
    master: int


class InterfaceEvents:
    """Knows the links and neighbours of namespaces, so that what only repeats is no event."""

    def __init__(self, spaces: Namespaces) -> None:
        self._spaces = spaces
        self._links: dict[str, dict[int, _KnownLink]] = {}
        self._neighbours: dict[tuple[str, int, bytes], str] = {}

    def learn(self, ns: str) -> None:
        """Read what is there. OSError (ENOENT) if the namespace is gone."""
        sock = self._spaces.route_socket(ns)
        self._links[ns] = dict(map(_link, batch.dump(sock, wire.GETLINK, wire.link_header())))
        for body in batch.dump(sock, wire.GETNEIGH, _NEIGHBOUR.pack(socket.AF_INET, 0, 0, 0, 0)):
            index, address, state = _neighbour(body)
            self._neighbours[ns, index, address] = state
        self._spaces.home()

    def forget(self, ns: str) -> None:
        """A namespace is gone."""
        self._links.pop(ns, None)
        self._neighbours = {key: state for key, state in self._neighbours.items() if key[0] != ns}

    def events(self, told: Notification, host: str, names: EventNames) -> Iterator[LabEvent]:
        """The events of one message: none if it repeats what is known."""
        removed = told.kind in _REMOVALS
        family = told.body[:1]
        match told.kind:
            case wire.NEWLINK | wire.DELLINK if family != bytes([socket.AF_BRIDGE]):
                yield from self._of_link(told, host, names, removed=removed)
            case wire.NEWADDR | wire.DELADDR:
                yield _event(told, host, EventKind.ADDRESS, self._address(told, names), removed=removed)
            case wire.NEWROUTE | wire.DELROUTE if told.body[4] != _LOCAL:
                yield _event(told, host, EventKind.ROUTE, self._route(told, names), removed=removed)
            case wire.NEWRULE | wire.DELRULE:
                yield _event(told, host, EventKind.ROUTING_RULE, words.rule(told.body), removed=removed)
            case wire.NEWNEIGH | wire.DELNEIGH if family == bytes([socket.AF_INET]):
                yield from self._of_neighbour(told, host, names, removed=removed)

    def _names(self, ns: str) -> Mapping[int, str]:
        return {index: link.name for index, link in self._links.get(ns, {}).items()}

    def _address(self, told: Notification, names: EventNames) -> str:
        text = words.address(told.body, self._names(told.ns))
        return f"{text}{_whose(names.host(text.partition(' ')[0]))}"

    def _route(self, told: Notification, names: EventNames) -> str:
        text = words.route(told.body, self._names(told.ns))
        return f"{text}{_whose(names.host(text.partition(' ')[0].removesuffix('/32')))}"

    def _of_link(self, told: Notification, host: str, names: EventNames, *, removed: bool) -> Iterator[LabEvent]:
        known = self._links.setdefault(told.ns, {})
        index, link = _link(told.body)
        old = known.pop(index, None)
        whose = _whose(names.interfaces.get(link.name, ""))
        facts = {"interface": link.name, "up": link.up, "carrier": link.carrier, "mtu": link.mtu}
        if removed:
            yield LabEvent(told.at, host, EventKind.LINK, EventAction.REMOVED, f"{link.name}{whose}", facts)
            return
        known[index] = link
        if old != link:
            action = EventAction.CHANGED if old else EventAction.ADDED
            text = ", ".join([f"{link.name}{whose}", *_differences(old, link, self._names(told.ns))])
            yield LabEvent(told.at, host, EventKind.LINK, action, text, facts)

    def _of_neighbour(self, told: Notification, host: str, names: EventNames, *, removed: bool) -> Iterator[LabEvent]:
        index, packed, state = _neighbour(told.body)
        key = told.ns, index, packed
        old = self._neighbours.pop(key, "")
        if not removed:
            self._neighbours[key] = state
        if not packed or (state == old and not removed) or (not state and not removed):
            return
        address = str(IPv4Address(packed))
        dev = self._names(told.ns).get(index, "?")
        action = EventAction.REMOVED if removed else EventAction.CHANGED if old else EventAction.ADDED
        text = f"{address} dev {dev} {'' if removed else state}".rstrip()
        facts = {"address": address, "interface": dev, "state": state}
        yield LabEvent(told.at, host, EventKind.NEIGHBOUR, action, f"{text}{_whose(names.host(address))}", facts)


def _event(told: Notification, host: str, kind: EventKind, text: str, *, removed: bool) -> LabEvent:
    action = EventAction.REMOVED if removed else EventAction.ADDED
    return LabEvent(told.at, host, kind, action, text, {"what": text})


def _whose(name: str) -> str:
    return f" ({name})" if name else ""


def _link(body: bytes) -> tuple[int, _KnownLink]:
    _, _, index, flags, _ = _LINK.unpack_from(body)
    found = wire.attributes(body, _LINK.size)
    mtu, master = (_number(found.get(kind)) for kind in (_MTU, _MASTER))
    name = found.get(_NAME, b"?").rstrip(b"\0").decode(errors="replace")
    return index, _KnownLink(name, bool(flags & wire.IFF_UP), bool(flags & _LOWER_UP), mtu, master)


def _number(value: bytes | None) -> int:
    return int.from_bytes(value or b"", "little" if struct.pack("=H", 1)[0] else "big")


def _differences(old: _KnownLink | None, new: _KnownLink, names: Mapping[int, str]) -> Iterator[str]:
    if not old or (old.up, old.carrier) != (new.up, new.carrier):
        yield "up" if new.up and new.carrier else "up, but without a carrier" if new.up else "down"
    if not old:
        yield f"mtu {new.mtu}"
    elif old.mtu != new.mtu:
        yield f"mtu {new.mtu} (was {old.mtu})"
    if (old.master if old else 0) != new.master:
        yield f"in bridge {names.get(new.master, new.master)}" if new.master else "in no bridge"


def _neighbour(body: bytes) -> tuple[int, bytes, str]:
    """The interface's number, the address, and its state: a link-layer address, failed, or "" for not yet known."""
    _, index, state, _, _ = _NEIGHBOUR.unpack_from(body)
    found = wire.attributes(body, _NEIGHBOUR.size)
    mac = found.get(_LLADDR, b"")
    told = "failed" if state & NUD_FAILED else f"lladdr {mac.hex(':')}" if mac else ""
    return index, found.get(_DST, b""), told
