"""Connections that conntrack knows: those that were made while something else translated outlive its repair."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.errors import NslabError
from nslab.linux.rules import restore

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nslab.linux.netns import Namespaces
    from nslab.objects.plan import Step

_TRANSLATES = ("iptables", "ipset", "nft", "ipvs")
_NONE, _EXPIRED = " 0 flow entries", "such conntrack doesn't exist"
"""What conntrack(8) says if there are no such entries, and if one expires after it was listed: then it stops."""
_TIMES = 10
_PASSING = ("SYN_SENT", "SYN_RECV", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE", "SYN_SENT2")
"""The states of TCP connections that are not established."""


def translating(plan: Iterable[Step]) -> Iterator[str]:
    """The namespaces in which steps change what translates addresses."""
    yield from dict.fromkeys(step.obj.ns for step in plan if step.obj.unit in _TRANSLATES)


def forget_flows(spaces: Namespaces, namespaces: Iterable[str]) -> None:
    """Drop what conntrack knows in some namespaces, but for established TCP connections, which go on as they are.

    Otherwise a new connection from the same port is translated as the old one was, for up to two minutes.
    """
    for ns in namespaces:
        spaces.enter(ns)
        for protocol in (("-p", "udp"), ("-p", "icmp"), *(("-p", "tcp", "--state", state) for state in _PASSING)):
            _drop(ns, *protocol)
    spaces.home()


def forget_udp(spaces: Namespaces, ports: Iterable[tuple[str, int]]) -> None:
    """Drop what conntrack knows of UDP to some ports (namespace, number), as portmap does for a pod's new ones."""
    for ns, port in ports:
        spaces.enter(ns)
        _drop(ns, "-p", "udp", "--orig-port-dst", str(port))
    spaces.home()


def flows(spaces: Namespaces, ns: str, *selection: str) -> list[str]:
    """What `conntrack -L` lists in a namespace; none if it cannot be listed."""
    spaces.enter(ns)
    try:
        return restore.listed("conntrack", "-L", *selection, lock=restore.lock_of(ns)).splitlines()
    except NslabError:
        return []
    finally:
        spaces.home()


def _drop(ns: str, *selection: str) -> None:
    for _ in range(_TIMES):
        try:
            restore.listed("conntrack", "-D", *selection, lock=restore.lock_of(ns))
        except NslabError as error:
            if _NONE in f" {error}":
                return
            if _EXPIRED not in str(error):
                raise
        else:
            return
