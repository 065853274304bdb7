"""Settings of an interface: administratively up, port of a bridge."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, ClassVar

from nslab.dataclass import dataclass
from nslab.objects.base import Add, KernelObject, OnDevice, Remove
from nslab.objects.interfaces import BRIDGE_PORT_MODE, LINK_MASTER, LINK_PROTINFO, NESTED
from nslab.objects.keys import Layer, interface_of
from nslab.objects.netlink import Netlink
from nslab.quote import fill
from nslab.wire.netlink import IFF_UP, SETLINK, attribute, link_header, message, u32

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nslab.objects.base import Step, There
    from nslab.objects.interfaces import Interfaces
    from nslab.objects.keys import Key
    from nslab.objects.netlink import Indexes, Messages

_AF_BRIDGE = 7


class Switched(OnDevice, Netlink):
    """A setting of an interface that is on or off. Turning it off twice is no error while the interface exists."""

    __slots__ = ()

    def error_removing(self, there: There) -> int:
        return 0 if there.has(interface_of(self.ns, self.dev)) else errno.ENODEV


@dataclass(frozen=True, slots=True)
class BridgePort(Switched):
    """An interface that is a port of a bridge. With `hairpin`, a frame may leave by the port it came in."""

    bridge: str
    hairpin: bool = False

    rank: ClassVar[int] = Layer.DEVICE + 2
    by_anybody: ClassVar[bool] = True

    @property
    def key(self) -> Key:
        return ("Port", self.ns, self.dev)

    @property
    def requires(self) -> tuple[Key, ...]:
        return (("Device", self.ns, self.dev), ("Device", self.ns, self.bridge))

    def changes_into(self, new: KernelObject) -> bool:
        return isinstance(new, BridgePort)

    def lines(self, step: Step) -> list[str]:
        if isinstance(step, Remove):
            return [fill("ip -n {} link set {} nomaster", self.ns, self.dev)]
        plug = [fill("ip -n {} link set {} master {}", self.ns, self.dev, self.bridge)]
        hairpin = fill("bridge -n {} link set dev {} hairpin ", self.ns, self.dev) + ("on" if self.hairpin else "off")
        return plug if self._is_plain(step) else [*plug, hairpin]

    def messages(self, step: Step, indexes: Indexes) -> Messages:
        port = indexes.index(self.ns, self.dev)
        if isinstance(step, Remove):
            return [(self.ns, _plug(port, 0))]
        plug = (self.ns, _plug(port, indexes.index(self.ns, self.bridge)))
        return [plug] if self._is_plain(step) else [plug, (self.ns, _hairpin(port, self.hairpin))]

    def _is_plain(self, step: Step) -> bool:
        return isinstance(step, Add) and not self.hairpin

    @property
    def label(self) -> str:
        return f"plug of {self.dev} in bridge {self.bridge}"

    @property
    def sentence(self) -> str:
        return f"{self.host}'s {self.dev} is plugged into bridge {self.bridge}"

    def differing(self, old: KernelObject) -> str:
        if not isinstance(old, BridgePort):
            return KernelObject.differing(self, old)
        if old.bridge != self.bridge:
            return f"{self.host}'s {self.dev} is plugged into {old.bridge} instead of bridge {self.bridge}{self.whose}"
        now, wanted = (("off", "on")[port.hairpin] for port in (old, self))
        return f"{self.host}'s {self.dev} has hairpin {now} instead of {wanted}{self.whose}"


@dataclass(frozen=True, slots=True)
class LinkUp(Switched):
    """An interface's state: administratively up."""

    rank: ClassVar[int] = Layer.LINK

    @property
    def key(self) -> Key:
        return ("LinkUp", self.ns, self.dev)

    @property
    def requires(self) -> tuple[Key, ...]:
        return (interface_of(self.ns, self.dev),)

    @property
    def sets_up(self) -> str:
        return self.dev

    @property
    def provides_address(self) -> bool:
        return self.dev == "lo"  # 127.0.0.1 comes with it

    def lines(self, step: Step) -> list[str]:
        return [fill("ip -n {} link set {} {}", self.ns, self.dev, "down" if isinstance(step, Remove) else "up")]

    def messages(self, step: Step, indexes: Indexes) -> Messages:
        flags = 0 if isinstance(step, Remove) else IFF_UP
        return [(self.ns, message(SETLINK, 0, link_header(indexes.index(self.ns, self.dev), flags, IFF_UP)))]

    @property
    def label(self) -> str:
        return f"link {self.dev}"

    @property
    def sentence(self) -> str:
        return f"{self.host}'s {self.dev} is up"

    def missing(self) -> str:
        return f"{self.host}'s {self.dev} is down"


def seen(ns: str, devices: Iterable[str], there: Interfaces) -> Iterator[KernelObject]:
    """The state of a namespace's `devices` and of lo: up, and port of which bridge."""
    names = {link.index: name for name, link in there.items()}
    for name in (*devices, "lo"):
        link = there[name]
        if link.up:
            yield LinkUp(ns, name)
        if link.master:
            yield BridgePort(ns, name, names[link.master], link.hairpin)


def _plug(index: int, master: int) -> bytes:
    return message(SETLINK, 0, link_header(index) + u32(LINK_MASTER, master))


def _hairpin(index: int, on: bool) -> bytes:
    body = attribute(LINK_PROTINFO | NESTED, attribute(BRIDGE_PORT_MODE, bytes([on])))
    return message(SETLINK, 0, link_header(index, family=_AF_BRIDGE) + body)
