"""Routes of the main table that no lab makes: of another type, with a metric, an MTU, a source, several ways."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

from nslab.dataclass import dataclass, field
from nslab.objects.base import Remove
from nslab.objects.inet import FLAGS, VERBS
from nslab.objects.interfaces import number
from nslab.objects.routes import Destination, route_author, route_destination
from nslab.wire.netlink import DELROUTE, NEWROUTE, RTA_OIF, attributes, message

if TYPE_CHECKING:
    from collections.abc import Container
    from ipaddress import IPv4Network

    from nslab.objects.base import Step
    from nslab.objects.keys import Key
    from nslab.objects.netlink import Indexes, Messages

_RTNH_F_ONLINK = 4
_RTA_PRIORITY, _TABLE_MAIN = 6, 254
_ROUTE = struct.Struct("=BBBBBBBBI")


@dataclass(frozen=True, slots=True)
class OtherRoute(Destination):
    """One route to `to`, as ip-route(8) writes it after the verb.

    `metric`, `tos`: they distinguish routes to one destination. `body`: the kernel's own message of it.
    """

    to: IPv4Network
    protocol: str
    text: str
    body: bytes = field(compare=False)
    metric: int = 0
    tos: int = 0

    @property
    def key(self) -> Key:
        told_apart = [f"metric {self.metric}"] * bool(self.metric) + [f"tos {self.tos}"] * bool(self.tos)
        return ("Route", self.ns, str(self.to), *told_apart)

    def lines(self, step: Step) -> list[str]:
        return [f"ip -n {self.ns} route {VERBS[type(step)]} {self.text}"]

    def messages(self, step: Step, _indexes: Indexes) -> Messages:
        *header, flags = _ROUTE.unpack_from(self.body)
        # The other flags are the kernel's to say.
        body = _ROUTE.pack(*header, flags & _RTNH_F_ONLINK) + self.body[_ROUTE.size :]
        return [(self.ns, message(DELROUTE if isinstance(step, Remove) else NEWROUTE, FLAGS[type(step)], body))]

    @property
    def label(self) -> str:
        return f"route {self.text}"

    def unwanted(self) -> str:
        return f"{self.host} has a {self.label} that is not the lab's"


def in_main_table(ns: str, body: bytes, text: str, devices: Container[int]) -> OtherRoute | None:
    """A route that no lab makes, if it is in the main table of IPv4 and leads through these interfaces, or none."""
    family, length, _, tos, table, protocol, *_ = _ROUTE.unpack_from(body)
    attrs = attributes(body, _ROUTE.size)
    index = number(attrs.get(RTA_OIF))
    if family != socket.AF_INET or table != _TABLE_MAIN or (index and index not in devices):
        return None
    to, metric = route_destination(attrs, length), number(attrs.get(_RTA_PRIORITY))
    return OtherRoute(ns, to, route_author(protocol), text, body, metric, tos)
