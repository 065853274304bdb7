"""Settings of interfaces that no lab sets: `up` restores the value of a new interface."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple

from nslab.dataclass import dataclass, replace
from nslab.objects.base import KernelObject, OnDevice
from nslab.objects.interfaces import (
    IFF_ALLMULTI,
    IFF_MULTICAST,
    IFF_NOARP,
    IFF_PROMISC,
    INFO_DATA,
    INFO_KIND,
    LINK_INFO,
    LINK_MTU,
    LINK_PROTINFO,
    LINK_QLEN,
    NESTED,
)
from nslab.objects.keys import Layer
from nslab.objects.netlink import Netlink
from nslab.quote import fill
from nslab.wire.netlink import NEWLINK, SETLINK, attribute, link_header, message, text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nslab.objects.base import Step
    from nslab.objects.interfaces import Interface, Interfaces
    from nslab.objects.keys import Key
    from nslab.objects.netlink import Indexes, Messages

_AF_BRIDGE = 7
_IP, _BRIDGE = "ip -n {} link set {}", "bridge -n {} link set dev {}"


class SettingSpec(NamedTuple):
    """One setting. `words`: what ip(8) or bridge(8) calls it; `kind`: the interfaces that have it.

    `number`: its attribute, of `size` bytes; or the flag (then `size` is 0) that is `default` when it is not set.
    """

    words: str
    kind: str
    number: int
    size: int
    default: int
    on_off: bool = True


PORT, ANY = "bridge port", "any"
SPECS = (
    SettingSpec("mtu", "lo", LINK_MTU, 4, 65536, on_off=False),
    SettingSpec("txqueuelen", ANY, LINK_QLEN, 4, 1000, on_off=False),
    SettingSpec("promisc", ANY, IFF_PROMISC, 0, 0),
    SettingSpec("allmulticast", ANY, IFF_ALLMULTI, 0, 0),
    SettingSpec("multicast", "veth", IFF_MULTICAST, 0, 1),
    SettingSpec("arp", "veth", IFF_NOARP, 0, 1),
    SettingSpec("arp", "bridge", IFF_NOARP, 0, 1),
    SettingSpec("arp", "vxlan", IFF_NOARP, 0, 1),
    SettingSpec("state", PORT, 1, 1, 3, on_off=False),
    SettingSpec("guard", PORT, 5, 1, 0),
    SettingSpec("root_block", PORT, 6, 1, 0),
    SettingSpec("fastleave", PORT, 7, 1, 0),
    SettingSpec("learning", PORT, 8, 1, 1),
    SettingSpec("flood", PORT, 9, 1, 1),
    SettingSpec("mcast_flood", PORT, 27, 1, 1),
    SettingSpec("mcast_to_unicast", PORT, 28, 1, 0),
    SettingSpec("bcast_flood", PORT, 30, 1, 1),
    SettingSpec("neigh_suppress", PORT, 32, 1, 0),
    SettingSpec("isolated", PORT, 33, 1, 0),
    SettingSpec("locked", PORT, 39, 1, 0),
    SettingSpec("type bridge ageing_time", "bridge", 4, 4, 30000, on_off=False),
    SettingSpec("type bridge stp_state", "bridge", 5, 4, 0, on_off=False),
    SettingSpec("type bridge vlan_filtering", "bridge", 7, 1, 0, on_off=False),
    SettingSpec("type bridge group_fwd_mask", "bridge", 9, 2, 0, on_off=False),
    SettingSpec("type bridge mcast_snooping", "bridge", 23, 1, 1, on_off=False),
    SettingSpec("type vxlan learning", "vxlan", 7, 1, 0, on_off=False),
)
_SPECS = {(spec.kind, spec.words): spec for spec in SPECS}
_QUEUES = {"tun": 500}


@dataclass(frozen=True, slots=True)
class LinkSetting(OnDevice, Netlink):
    """One setting of an interface, with the value that a new interface has."""

    kind: str
    words: str
    value: int
    default: int

    rank: ClassVar[int] = Layer.LINK + 1
    by_anybody: ClassVar[bool] = True

    @property
    def key(self) -> Key:
        return ("LinkSetting", self.ns, self.dev, self.words)

    @property
    def initial(self) -> KernelObject:
        return replace(self, value=self.default)

    def changes_into(self, new: KernelObject) -> bool:
        return isinstance(new, LinkSetting)

    def lines(self, _step: Step) -> list[str]:
        tool = _BRIDGE if self.kind == PORT else _IP
        return [fill(tool, self.ns, self.dev) + f" {self.words} {self._displayed(self.value)}"]

    def messages(self, _step: Step, indexes: Indexes) -> Messages:
        index, spec = indexes.index(self.ns, self.dev), _SPECS[self.kind, self.words]
        if not spec.size:
            set_ = self.value != (self.words == "arp")  # the flag says the opposite
            return [(self.ns, message(SETLINK, 0, link_header(index, spec.number * set_, spec.number)))]
        value = attribute(spec.number, self.value.to_bytes(spec.size, "little"))
        if spec.kind == PORT:
            body = link_header(index, family=_AF_BRIDGE) + attribute(LINK_PROTINFO | NESTED, value)
            return [(self.ns, message(SETLINK, 0, body))]
        if spec.words.startswith("type "):
            driver = text(INFO_KIND, spec.kind) + attribute(INFO_DATA | NESTED, value)
            return [(self.ns, message(NEWLINK, 0, link_header(index) + attribute(LINK_INFO | NESTED, driver)))]
        return [(self.ns, message(SETLINK, 0, link_header(index) + value))]

    @property
    def label(self) -> str:
        return f"{self.words} of {self.dev}"

    @property
    def listed(self) -> tuple[str, str]:
        return "settings of interfaces", f"{self.dev} {self.words} {self._displayed(self.value)}"

    @property
    def stands_for(self) -> tuple[str, ...]:
        return (self.dev,)

    def differing(self, old: KernelObject) -> str:
        if not isinstance(old, LinkSetting):
            return KernelObject.differing(self, old)
        now, wanted = self._displayed(old.value), self._displayed(self.value)
        return f"{self.host}'s {self.dev} has {self.words} {now} instead of {wanted}"

    def _displayed(self, value: int) -> str:
        return ("off", "on")[bool(value)] if _SPECS[self.kind, self.words].on_off else str(value)


def changed(ns: str, devices: Iterable[str], there: Interfaces) -> Iterator[LinkSetting]:
    """The settings of these interfaces that are not as a new interface has them."""
    bridges = {link.index: link for link in there.values() if link.kind == "bridge"}
    for name in devices:
        link, bridge = there[name], bridges.get(there[name].master)
        kinds = (ANY, link.kind or name, *([PORT] if bridge else []))
        for spec in SPECS:
            if spec.kind in kinds and (value := _value(link, bridge, spec)) is not None:
                default = _QUEUES.get(link.kind, spec.default) if spec.number == LINK_QLEN else spec.default
                if value != default:
                    yield LinkSetting(ns, name, spec.kind, spec.words, value, default)


def _value(link: Interface, bridge: Interface | None, spec: SettingSpec) -> int | None:
    """The value of an interface; None if the kernel has no such setting, or does not report it now."""
    if not spec.size:
        return int(bool(link.flags & spec.number) != (spec.words == "arp"))
    if spec.words in ("mtu", "txqueuelen"):
        return link.mtu if spec.words == "mtu" else link.qlen
    if spec.words == "state" and not (link.running and bridge and bridge.up):
        return None  # without a carrier, or while its bridge is down, a port is disabled by itself
    found = (link.port if spec.kind == PORT else link.data).get(spec.number)
    return None if found is None else int.from_bytes(found, "little")
