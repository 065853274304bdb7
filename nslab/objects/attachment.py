"""A pod's network as CNI plugins make it: one noun, whatever interfaces, routes and rules come of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.dataclass import dataclass
from nslab.objects.noun import Key, Noun

if TYPE_CHECKING:
    from ipaddress import IPv4Address

    from nslab.cni.chain import Wiring


@dataclass(frozen=True, slots=True)
class Attachment(Noun):
    """The interface by which the plugins of a list have wired the pod in `ns`, run in `node` (a namespace, too).

    `address`: the pod's; which one it is, the plugins say in the end. `fault`: what is wrong with it, by their own
    CHECK or by what can be seen; a wish has none, so one that is at fault is taken away and made anew.
    """

    node: str
    wiring: Wiring
    address: IPv4Address
    fault: str = ""

    @property
    def key(self) -> Key:
        return ("Attachment", self.ns, self.wiring.ifname)

    @property
    def lies_on(self) -> tuple[Key, ...]:
        return (("Netns", self.ns), ("Netns", self.node))
