"""The interfaces of a lab's hosts and the cables between them, read off its State (pure)."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, TypeAlias

from nslab.compiler.networks import network
from nslab.dataclass import dataclass
from nslab.objects.attachment import Attachment
from nslab.objects.base import OnDevice
from nslab.objects.devices import Device
from nslab.objects.inet import Address
from nslab.objects.links import Veth
from nslab.objects.names import host, pod_host
from nslab.objects.namespaces import Netns
from nslab.objects.ports import BridgePort
from nslab.objects.routes import Route

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from nslab.lab.types import Lab
    from nslab.objects.base import KernelObject, State

End: TypeAlias = tuple[str, str]
"""A host and one of its interfaces; "" for the host's routing, through which packets pass between interfaces."""


@dataclass(frozen=True, slots=True)
class NetworkInterface:
    """One interface. `kind`: as the kernel names it; `addresses`: with their prefix lengths; `mtu`: in bytes.

    `bridge`: the bridge whose port it is, or "".
    """

    name: str
    kind: str
    addresses: tuple[str, ...] = ()
    mtu: int = 0
    bridge: str = ""


def hosts(state: State) -> list[str]:
    """The lab's hosts, in the order in which they are made."""
    return [obj.host for obj in state if isinstance(obj, Netns)]


def interfaces(state: State) -> Mapping[str, Sequence[NetworkInterface]]:
    """Each host's interfaces, in the order in which they are made."""
    addresses: dict[End, list[str]] = defaultdict(list)
    bridges: dict[End, str] = {}
    for obj in state:
        match obj:
            case Address():
                addresses[obj.host, obj.dev].append(str(obj.address))
            case Attachment():
                addresses[obj.host, obj.wiring.ifname].append(str(obj.address))
            case BridgePort():
                bridges[obj.host, obj.dev] = obj.bridge
            case _:
                pass
    found: dict[str, list[NetworkInterface]] = defaultdict(list)
    for (where, name), kind, mtu in (end for obj in state for end in _ends(obj)):
        end = where, name
        found[where].append(NetworkInterface(name, kind, tuple(addresses[end]), mtu, bridges.get(end, "")))
    return found


def _ends(obj: KernelObject) -> Iterator[tuple[End, str, int]]:
    """The interfaces that an object is, each with its kind and MTU."""
    match obj:
        case Device():
            for ns, name in obj.ends():
                yield (host(ns), name), obj.driver, obj.mtu
        case Attachment():
            yield (obj.host, obj.wiring.ifname), "veth", 0
        case _:
            pass


def cables(lab: Lab, state: State) -> Iterator[tuple[End, End]]:
    """The two ends of each cable, a node's or the switch's first; "" for an end that only a plugin knows."""
    nodes = {pod_host(pod.namespace, pod.name): pod for pod in lab.pods}
    for obj in state:
        match obj:
            case Veth():
                yield (obj.host, obj.name), (host(obj.peer_ns), obj.peer)
            case Attachment():
                link = network(lab).pod_link(nodes[obj.host]) if obj.host in nodes else ""
                yield (host(obj.node), link), (obj.host, obj.wiring.ifname)
            case _:
                pass


def device(obj: KernelObject) -> str:
    """The interface of its host that an object concerns; "" if none."""
    match obj:
        case Device():
            return obj.name
        case OnDevice() | Route():
            return obj.dev
        case Attachment():
            return obj.wiring.ifname
        case _:
            return ""
