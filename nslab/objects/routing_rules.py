"""The routing rules that every namespace begins with."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from nslab.dataclass import dataclass, field, replace
from nslab.objects.keys import Layer
from nslab.objects.netlink import Netlink
from nslab.quote import fill
from nslab.wire.netlink import CREATE, DELRULE, EXCL, NEWRULE, message

if TYPE_CHECKING:
    from nslab.objects.base import KernelObject, Step
    from nslab.objects.keys import Key
    from nslab.objects.netlink import Indexes, Messages


@dataclass(frozen=True, slots=True)
class RoutingRule(Netlink):
    """A rule of the kernel's own. `text`: as ip-rule(8) writes it; `body`: the kernel's message of it."""

    text: str
    body: bytes = field(compare=False)
    ipv6: bool = False
    there: bool = True

    rank: ClassVar[int] = Layer.SETTING
    by_anybody: ClassVar[bool] = True

    @property
    def key(self) -> Key:
        return ("RoutingRule", self.ns, self.text, "IPv6" if self.ipv6 else "IPv4")

    @property
    def initial(self) -> KernelObject:
        return replace(self, there=True)

    def changes_into(self, new: KernelObject) -> bool:
        return isinstance(new, RoutingRule)

    def lines(self, _step: Step) -> list[str]:
        tool = fill("ip -6 -n {}" if self.ipv6 else "ip -n {}", self.ns)
        return [f"{tool} rule {'add' if self.there else 'del'} {self.text}"]

    def messages(self, _step: Step, _indexes: Indexes) -> Messages:
        return [(self.ns, message(NEWRULE if self.there else DELRULE, CREATE | EXCL if self.there else 0, self.body))]

    @property
    def label(self) -> str:
        return f"{'IPv6 ' * self.ipv6}routing rule {self.text}"

    def differing(self, _old: KernelObject) -> str:
        return f"{self.host} has no {self.label}"


def deleted(ns: str, body: bytes, text: str, *, ipv6: bool) -> RoutingRule:
    """A routing rule that every namespace begins with, and that this one lacks."""
    return RoutingRule(ns, text, body, ipv6, there=False)
