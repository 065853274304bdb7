"""The rules of a host with their counters, and what they match as it happens."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from nslab.app.drift import as_seen
from nslab.compiler import compile_lab
from nslab.compiler.endpoints import resolve, seen
from nslab.dataclass import dataclass
from nslab.errors import UsageError
from nslab.lab.types import ProxyMode
from nslab.linux.netlink import listener as groups
from nslab.linux.netlink.listener import NetlinkListener
from nslab.linux.netns import Namespaces, inode, named
from nslab.linux.observe.host import read_host
from nslab.linux.observe.nft import wanted_ruleset
from nslab.linux.rules.counters import read_rules
from nslab.linux.signals import stop_descriptor
from nslab.linux.stored_lab import changed_at, no_such_lab, stored_lab
from nslab.linux.tracing import connections
from nslab.linux.visits import visiting, watching_until_gone
from nslab.objects.names import host as host_in
from nslab.objects.names import host_of, netns
from nslab.trace.authors import Authors
from nslab.trace.counted.gather import gathered
from nslab.trace.counted.hits import connection_hit, hits
from nslab.trace.counted.names import chosen_service, service_names
from nslab.trace.counted.nft import chain_texts
from nslab.trace.endpoints import way_on
from nslab.wire.nftables import NETLINK_NETFILTER

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nslab.lab.types import Lab
    from nslab.linux.netlink.listener import Notification
    from nslab.objects.base import State
    from nslab.proxy.model import ServiceInfo
    from nslab.trace.authors import RulePlace
    from nslab.trace.counted.names import ServiceNames
    from nslab.trace.counted.values import CountedRules, RuleHit

_LOOK, _PAUSE = 1000.0, 200.0
"""Milliseconds after which counters are read if nothing came (a rejected packet makes no connection), and at least
between two readings."""


class TimedHit(NamedTuple):
    """What rules matched. `at`: nanoseconds since 1970."""

    at: int
    hit: RuleHit


@dataclass(frozen=True, slots=True)
class RuleReader:
    """Reads the rules of a host of a running lab, again and again. `mode`: "" for a host that is no node."""

    lab: str
    host: str
    mode: str
    services: Sequence[ServiceInfo]
    names: ServiceNames
    authors: Authors
    spaces: Namespaces

    @property
    def ns(self) -> str:
        """The host's namespace."""
        return netns(self.lab, self.host)

    def read(self) -> CountedRules:
        """Its rules now."""
        read = read_rules(self.spaces, self.ns)
        known = [one.connection for one in connections.listed(self.spaces, self.ns, self.host)]
        self.spaces.home()
        return gathered(self.host, self.mode, read, known, self.services, self.names, self.authors)


def node_rules(name: str, host: str) -> CountedRules:
    """The rules of a host of a running lab, with their counters now. UsageError if it has no such host."""
    with visiting(name), Namespaces() as spaces:
        return _opened(spaces, name, host).read()


def service_of(name: str, word: str) -> str:
    """NAMESPACE/NAME of the Service that a person names; UsageError if the lab has none of that name."""
    return chosen_service(resolve(stored_lab(name)), word)


class RuleWatch:
    """Watches the rules of a host."""

    def __init__(self, reader: RuleReader, listener: NetlinkListener) -> None:
        self._reader, self._listener = reader, listener
        self._before = reader.read()
        self._inode, self._stored = inode(reader.ns), changed_at(reader.lab)

    @property
    def overruns(self) -> int:
        """How often the kernel had more to tell than was read in time."""
        return self._listener.overruns

    def hits(self, seconds: float | None = None) -> Iterator[TimedHit]:
        """What rules match, until Ctrl-C, for `seconds`, or until the lab is down."""
        end = None if seconds is None else time.monotonic() + seconds
        while (told := self._listener.wait(_left(end, _LOOK))) is not None and inode(self._reader.ns) == self._inode:
            yield from self._hits(told)
            self._listener.pause(_left(end, _PAUSE))
            if end is not None and time.monotonic() >= end:
                return

    def _hits(self, told: list[Notification]) -> Iterator[TimedHit]:
        now = time.time_ns()
        if (stored := changed_at(self._reader.lab)) != self._stored:  # it may have other Services
            self._reader, self._stored = _opened(self._reader.spaces, self._reader.lab, self._reader.host), stored
        after = self._reader.read()
        if self._reader.mode == ProxyMode.NFTABLES:
            for one in told:
                entry = connections.known_entry(one.body, self._reader.host)
                if entry and (hit := connection_hit(entry.connection, self._reader.names)):
                    yield TimedHit(one.at, hit)
        yield from (TimedHit(now, hit) for hit in hits(self._before.chains, after.chains))
        self._before = after


def _left(end: float | None, most: float) -> float:
    return most if end is None else min(most, (end - time.monotonic()) * 1000)


@contextmanager
def watching(name: str, host: str) -> Iterator[RuleWatch]:
    """Watch the rules of a host of a running lab from now on."""
    with stop_descriptor() as stopped, watching_until_gone(name), Namespaces() as spaces:
        reader = _opened(spaces, name, host)
        heard = {NETLINK_NETFILTER: (groups.CONNTRACK_NEW,)}
        with NetlinkListener(spaces, heard, stopped) as listener:
            listener.add(reader.ns)
            yield RuleWatch(reader, listener)


def _opened(spaces: Namespaces, name: str, word: str) -> RuleReader:
    lab = as_seen(stored_lab(name))
    host = _host(lab, word)
    state = compile_lab(lab, read_host(spaces))
    authors = Authors(name, state, _as_listed(spaces, netns(name, host), state))
    services = seen(resolve(lab))
    mode = str(lab.proxy_mode) if host in {node.name for node in lab.nodes} else ""
    return RuleReader(name, host, mode, services, service_names(services), authors, spaces)


def _as_listed(spaces: Namespaces, ns: str, state: State) -> dict[RulePlace, frozenset[str]]:
    """The lab's rules of nft in a namespace, in the words in which they are shown."""
    texts = chain_texts(wanted_ruleset(spaces, [obj for obj in state if obj.ns == ns]))
    return {(ns, *place): frozenset(rules) for place, rules in texts.items()}


def _host(lab: Lab, word: str) -> str:
    hosts = [host_in(ns) for ns in named(lab.name)]
    if not hosts:  # `down` has just taken it away
        raise no_such_lab(lab.name)
    if (host := host_of(word)) in hosts:
        return host
    raise UsageError(f"{lab.name} has no {word[:60]}{way_on(word, hosts)}")
