"""A dumped node's interfaces and addresses, and the neighbours behind them (pure)."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from nslab.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.trace.dump.files import Dump, JsonEntry

FLOOD: Final = "00:00:00:00:00:00"
"""The link-layer address to whose forwarding entries VXLAN sends what no other entry is for."""


@dataclass(frozen=True, slots=True)
class DumpedLink:
    """An interface. `kind`: its driver, "" for hardware; `master`: its bridge; `remote`, `key`, `port`: a tunnel's.

    `peer`: the index of a veth's other end, in another namespace or the same.
    """

    name: str
    index: int
    kind: str
    mtu: int
    mac: str
    up: bool
    master: str = ""
    peer: int = 0
    remote: IPv4Address | None = None
    key: int = 0
    port: int = 0


class DumpedAddress(NamedTuple):
    """An address of an interface, with its network; of a point-to-point one, the other end's."""

    dev: str
    address: IPv4Interface
    broadcast: IPv4Address | None
    host_only: bool


Neighbours: TypeAlias = "dict[tuple[str, IPv4Address], str]"
"""Link-layer addresses by interface and address."""
Forwarding: TypeAlias = "dict[tuple[str, str], list[tuple[IPv4Address | None, str]]]"
"""By interface (a tunnel or a bridge) and link-layer address: the tunnel's other end, and the bridge's port."""


def links(dump: Dump) -> dict[str, DumpedLink]:
    """The interfaces by name. Raises UsageError."""
    return {link.name: link for entry in dump.entries("link.json") for link in [_link(entry)]}


def _link(entry: JsonEntry) -> DumpedLink:
    name = entry.dev("ifname")
    if not name:
        raise entry.wrong("no ifname")
    info = entry.below("linkinfo")
    data = info.below("info_data")
    return DumpedLink(
        name, entry.number("ifindex"), info.text("info_kind"), entry.number("mtu"), entry.text("address").lower(),
        "UP" in entry.words("flags"), entry.dev("master"), entry.number("link_index"), _remote(data),
        data.number("id") if "id" in data.fields else 0, data.number("port") if "port" in data.fields else 0,
    )  # fmt: skip


def _remote(data: JsonEntry) -> IPv4Address | None:
    """A tunnel's other end, if it has one alone, and it is an IPv4 address."""
    return None if ":" in data.text("remote") else data.address("remote")


def addresses(dump: Dump) -> list[DumpedAddress]:
    """The IPv4 addresses in the order of the kernel: the first of an interface is its primary one."""
    return [found for entry in dump.entries("addr.json") for found in _addresses(entry)]


def _addresses(entry: JsonEntry) -> Iterator[DumpedAddress]:
    dev = entry.dev("ifname")
    for one in entry.listed("addr_info"):
        if one.text("family") == "inet" and (own := one.address("local")):
            length = one.number("prefixlen", 32)
            if length > 32:
                raise one.wrong("prefixlen is more than 32")
            yield DumpedAddress(
                dev, IPv4Interface((own, length)), one.address("broadcast"), one.text("scope") in ("host", "link")
            )


def neighbours(dump: Dump) -> Neighbours:
    """The IPv4 neighbours whose link-layer address the node knows."""
    return {
        (entry.dev("dev"), address): entry.text("lladdr").lower()
        for entry in dump.entries("neigh.json")
        if ":" not in entry.text("dst") and "lladdr" in entry.fields and (address := entry.address("dst"))
    }


def forwarding(dump: Dump) -> Forwarding:
    """The forwarding entries of tunnels and of bridges' ports."""
    found: Forwarding = {}
    for entry in dump.entries("fdb.json"):
        dev, mac = entry.dev("ifname"), entry.text("mac").lower()
        far = None if ":" in entry.text("dst") else entry.address("dst")
        if far:
            found.setdefault((dev, mac), []).append((far, ""))
        elif bridge := entry.dev("master"):
            found.setdefault((bridge, mac), []).append((None, dev))
    return found


def interface_settings(dump: Dump) -> Iterator[tuple[str, str]]:
    """Settings of interfaces, by the path of their sysctl."""
    for entry in dump.entries("netconf.json"):
        if entry.text("family") == "inet" and (dev := entry.dev("interface")):
            if isinstance(forwards := entry.fields.get("forwarding"), bool):
                yield f"net/ipv4/conf/{dev}/forwarding", str(int(forwards))
            if (mode := entry.text("rp_filter")) in _RP_FILTER:
                yield f"net/ipv4/conf/{dev}/rp_filter", str(_RP_FILTER.index(mode))


_RP_FILTER: Final = ("off", "strict", "loose")
