"""What happens in a running lab, as it happens."""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from nslab import rundir
from nslab.app.drift import as_seen
from nslab.compiler.endpoints import resolve
from nslab.linux.folder_watch import FolderWatch
from nslab.linux.happening.interfaces import InterfaceEvents
from nslab.linux.happening.rules import NftEvents
from nslab.linux.netlink import listener as groups
from nslab.linux.netlink.listener import NetlinkListener
from nslab.linux.netns import Namespaces, folder, inode, named
from nslab.linux.observe.host import read_host
from nslab.linux.observe.rules import is_variant
from nslab.linux.processes.status import read_status
from nslab.linux.signals import stop_descriptor
from nslab.linux.stored_lab import changed_at, no_such_lab, stored_lab
from nslab.linux.tracing.connections import known_entry
from nslab.linux.visits import watching_until_gone
from nslab.objects.names import host
from nslab.trace.counted.names import service_names
from nslab.trace.lab_events.connections import connection_event
from nslab.trace.lab_events.names import event_names
from nslab.trace.lab_events.objects import object_events, objects_seen
from nslab.wire.nftables import NETLINK_NETFILTER

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nslab.lab.types import Lab
    from nslab.linux.netlink.listener import Notification
    from nslab.trace.lab_events.names import EventNames
    from nslab.trace.lab_events.objects import ObjectsSeen
    from nslab.trace.lab_events.values import LabEvent

_GROUPS = {
    groups.NETLINK_ROUTE: (groups.LINKS, groups.NEIGHBOURS, groups.ADDRESSES, groups.ROUTES, groups.ROUTING_RULES),
    NETLINK_NETFILTER: (groups.CONNTRACK_NEW, groups.CONNTRACK_DESTROY, groups.NFTABLES),
}
_LOOK = 1000.0
"""Milliseconds between two looks whether namespaces came and went."""
_NFT, _CONNTRACK = 10, 1
"""Subsystems of NETLINK_NETFILTER."""
_CONNTRACK_DELETE = 2
_LEGACY = "the kernel tells nothing of iptables-legacy's rules; `nslab rules LAB NODE --watch` shows what they match"


class LabEvents:
    """Hears a running lab."""

    def __init__(self, lab: str, spaces: Namespaces, listener: NetlinkListener, folders: FolderWatch) -> None:
        self.lab = lab
        self._spaces, self._listener, self._folders = spaces, listener, folders
        self._interfaces, self._rules = InterfaceEvents(spaces), NftEvents(spaces)
        self._known: dict[str, int] = {}
        self._looked = time.monotonic()
        self._stored = changed_at(lab)
        self._desired = stored_lab(lab)
        self._names, self._objects = self._look()
        self._join()
        if not self._known:  # `down` has just taken it away
            raise no_such_lab(lab)
        self.notes = [_LEGACY] if is_variant(read_host(spaces).iptables, "-legacy") else []

    @property
    def hosts(self) -> list[str]:
        """Whom it hears."""
        return [host(ns) for ns in self._known]

    @property
    def objects(self) -> ObjectsSeen:
        """The pods and endpoints as they were seen last."""
        return self._objects

    @property
    def overruns(self) -> int:
        """How often the kernel had more to tell than was read in time: then some events are missing."""
        return self._listener.overruns

    def events(self, seconds: float | None = None) -> Iterator[LabEvent]:
        """The events in order of time, until Ctrl-C, for `seconds`, or until the lab is down."""
        end = None if seconds is None else time.monotonic() + seconds
        while (found := self.step(_left(end))) is not None:
            yield from found
            if end is not None and time.monotonic() >= end:
                return

    def step(self, milliseconds: float) -> list[LabEvent] | None:
        """The events within a time, in order, as soon as there are some; None once it is over."""
        heard = self._listener.wait(milliseconds) if self._known else None
        if heard is None:
            return None
        found = [*self._of_the_kernel(heard)]
        if self._folders.drain() or time.monotonic() - self._looked >= _LOOK / 1000:
            found += self._changed()
        return sorted(found, key=lambda event: event.at)

    def _of_the_kernel(self, heard: Sequence[Notification]) -> Iterator[LabEvent]:
        rules: dict[str, list[Notification]] = {}
        for one in heard:
            if one.protocol == groups.NETLINK_ROUTE:
                yield from self._interfaces.events(one, host(one.ns), self._names)
            elif one.kind >> 8 == _CONNTRACK:
                if entry := known_entry(one.body, host(one.ns)):
                    gone = one.kind & 0xFF == _CONNTRACK_DELETE
                    yield connection_event(one.at, entry.connection, self._names, destroyed=gone)
            elif one.kind >> 8 == _NFT:
                rules.setdefault(one.ns, []).append(one)
        for ns, messages in rules.items():
            yield from self._rules.events(ns, host(ns), messages, self._names)

    def _changed(self) -> Iterator[LabEvent]:
        """What the lab's nodes publish otherwise than before; and hear namespaces that came."""
        self._looked = time.monotonic()
        self._join()
        if (stored := changed_at(self.lab)) and stored != self._stored:
            self._stored, self._desired = stored, stored_lab(self.lab)
        if stored:
            before = self._objects
            names, self._objects = self._look()
            self._names = names.after(self._names)
            yield from object_events(time.time_ns(), before, self._objects)

    def _look(self) -> tuple[EventNames, ObjectsSeen]:
        lab: Lab = as_seen(self._desired)
        services = resolve(lab)
        return event_names(lab, service_names(services)), objects_seen(lab, read_status(lab.name), services)

    def _join(self) -> None:
        """Hear new namespaces, and forget those that are gone: a socket would keep them."""
        there = {ns: inode(ns) for ns in named(self.lab)}
        for ns in [ns for ns, number in self._known.items() if there.get(ns) != number]:
            del self._known[ns]
            self._listener.remove(ns)
            self._spaces.forget(ns)
            self._interfaces.forget(ns)
            self._rules.forget(ns)
        for ns in there.keys() - self._known.keys():
            with suppress(FileNotFoundError):
                self._listener.add(ns)
                self._known[ns] = there[ns]
                self._interfaces.learn(ns)
                self._rules.learn(ns)


def _left(end: float | None) -> float:
    return _LOOK if end is None else min(_LOOK, (end - time.monotonic()) * 1000)


@contextmanager
def lab_events(name: str) -> Iterator[LabEvents]:
    """Hear a running lab from now on. UsageError if no lab of that name runs."""
    with stop_descriptor() as stopped, hearing(name, stopped) as heard:
        yield heard


@contextmanager
def hearing(name: str, stopped: int) -> Iterator[LabEvents]:
    """The same in any thread. `stopped`: readable once it shall end."""
    stored_lab(name)
    place = folder(name)
    with (
        watching_until_gone(name),
        Namespaces() as spaces,
        FolderWatch(place, place / rundir.NODES, place / rundir.NAMES) as folders,
        NetlinkListener(spaces, _GROUPS, stopped) as listener,
    ):
        if folders.descriptor >= 0:
            listener.wake_for(folders.descriptor)
        yield LabEvents(name, spaces, listener, folders)
