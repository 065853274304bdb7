"""Asks a lab's DNS for a name, as a host of the lab."""

from __future__ import annotations

import os
import socket
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from nslab.linux.timeouts import scaled
from nslab.linux.tracing import connections
from nslab.objects.names import netns
from nslab.trace.hops import NameAsked
from nslab.trace.observed import Header
from nslab.wire import dns_client, packets

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nslab.linux.netns import Namespaces
    from nslab.trace.observed import Flow

NO_ANSWER = "no answer"
_SECONDS = scaled(2.0)


def ask_names(
    spaces: Namespaces, lab: str, host: str, nodes: Iterable[str], names: Iterable[str], server: IPv4Address
) -> tuple[NameAsked, ...]:
    """Ask for one name after the other until there is an address, as a resolver does with its search list.

    The conntrack of `nodes` does not keep the questions.
    """
    asked: list[NameAsked] = []
    flows: list[Flow] = []
    spaces.enter(netns(lab, host))
    try:
        for name in names:
            asked.append(_ask(name, server, flows))
            if asked[-1].addresses:
                break
        where = list(dict.fromkeys((*nodes, host)))
        for flow in flows:
            connections.forget_flow(spaces, lab, where, flow)
    finally:
        spaces.home()
    return tuple(asked)


def _ask(name: str, server: IPv4Address, flows: list[Flow]) -> NameAsked:
    number = int.from_bytes(os.urandom(2), "big")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(_SECONDS)
        try:
            sock.connect((str(server), 53))
            own, port = sock.getsockname()
            flows.append(Header(IPv4Address(own), server, packets.UDP, (port, 53)).flow)
            sock.send(dns_client.query(number, name))
            answer = dns_client.answer(sock.recv(1 << 12), number)
        except OSError as error:
            return NameAsked(name, server, error=os.strerror(error.errno) if error.errno else NO_ANSWER)
    if answer is None:
        return NameAsked(name, server, error="an answer that is none")
    return NameAsked(name, server, *answer)
