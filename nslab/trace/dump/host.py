"""A node as its dump has it: interfaces, addresses, routes, rules, settings, each read when it is asked (pure)."""

from __future__ import annotations

import re
from functools import cached_property
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Final

from nslab.errors import UsageError
from nslab.ruletext.saved import tables
from nslab.trace.dump import links
from nslab.trace.dump.files import sysctls
from nslab.trace.dump.routing import Routing
from nslab.trace.ipvs import virtual_servers
from nslab.trace.rules.packet import ICMP, TCP, UDP, Addresses, HookPacket
from nslab.trace.rules.ruleset import read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeVar

    from nslab.trace.dump.files import Dump, Sysctls
    from nslab.trace.dump.links import DumpedAddress, DumpedLink, Forwarding, Neighbours
    from nslab.trace.ipvs import VirtualServers
    from nslab.trace.rules.ruleset import NodeRules

    Read = TypeVar("Read")

_COUNTERS: Final = re.compile(r"\[\d+:\d+\]")
_SAVED: Final = ("iptables-save", "iptables-nft-save", "iptables-legacy-save")
_NEEDED: Final = ("addr.json", "link.json", "route.json")
_FORWARD: Final = "net/ipv4/ip_forward"
_NO_HOST: Final = IPv4Address(0)
_NETS: Final = {TCP: "tcp", UDP: "udp"}
_PROTOCOLS: Final = _NETS | {ICMP: "icmp"}


class DumpedHost:
    """One node. Raises UsageError with file and place where the dump has what no program prints."""

    def __init__(self, dump: Dump) -> None:
        self.name, self._dump = dump.name, dump
        missing = [file for file in _NEEDED if not dump.text(file).strip()]
        if missing:
            why = next((line for line in dump.text("notes").split("\n") if line.startswith(missing[0])), "")
            raise dump.wrong(f"it has no {missing[0]}, without which no way is known{why and f' ({why[:120]})'}")

    @cached_property
    def links(self) -> dict[str, DumpedLink]:
        """The interfaces by name."""
        return links.links(self._dump)

    @cached_property
    def addresses(self) -> list[DumpedAddress]:
        """The IPv4 addresses."""
        return links.addresses(self._dump)

    @cached_property
    def neighbours(self) -> Neighbours:
        """The link-layer addresses of neighbours."""
        return links.neighbours(self._dump)

    @cached_property
    def forwarding(self) -> Forwarding:
        """The forwarding entries of bridges and tunnels."""
        return links.forwarding(self._dump)

    @cached_property
    def routing(self) -> Routing:
        """Its routes, and the rules that choose among its tables."""
        return Routing(self._dump)

    @cached_property
    def settings(self) -> Sysctls:
        """Its sysctls by path; those of interfaces also as `ip netconf` has them."""
        return sysctls(self._dump.text("sysctl")) | dict(links.interface_settings(self._dump))

    @cached_property
    def virtual_servers(self) -> VirtualServers:
        """IPVS' virtual servers."""
        return self._read(lambda: virtual_servers(self._dump.text("ipvsadm-save")))

    @cached_property
    def rules(self) -> NodeRules:
        """Its rules of iptables, in both variants, and of nft."""
        own, legacy = self._saved()
        return self._read(
            lambda: read(own or legacy, self._dump.text("ipset-save"), self._dump.text("nft.json"), legacy * bool(own))
        )

    @cached_property
    def asked(self) -> Addresses:
        """What its rules ask of its addresses and routes."""
        own = {one.address.ip: one.dev for one in self.addresses}
        broadcasts = {one.broadcast: one.dev for one in self.addresses if one.broadcast}
        return Addresses(own, broadcasts, self._leads)

    @property
    def notes(self) -> Iterator[str]:
        """What the dump lacks that a prediction may need, and what of the node is not read."""
        taken = {line.partition(":")[0]: line for line in self._dump.text("notes").split("\n") if line}
        for file in ("all", "iptables-save", "ipset-save", "nft.json", "ipvsadm-save", "sysctl"):
            line = taken.get(file, "")
            if line and "the kernel does not use it" not in line and not self._dump.text(file):
                yield f"{self.name}: {line[:200]}"
        if any(name.startswith("cilium_") for name in self.links):
            yield f"{self.name} has Cilium, whose BPF programs are not read: they may do otherwise than its rules"
        if any(link.kind == "vrf" for link in self.links.values()):
            yield f"{self.name} has VRFs, which are not read"

    def setting(self, name: str, dev: str) -> int:
        """The higher of a setting for all interfaces and for one, as the kernel takes rp_filter; 0 if it has none."""
        values = (self.settings.get(f"net/ipv4/conf/{where}/{name}", "0") for where in ("all", dev))
        return max(int(value) if value.isascii() and value.isdecimal() and len(value) < 6 else 0 for value in values)

    def forwards(self, dev: str) -> bool:
        """Whether it forwards what comes in at an interface; also if nobody knows."""
        return self.settings.get(f"net/ipv4/conf/{dev}/forwarding", self.settings.get(_FORWARD, "1")) != "0"

    @property
    def bridge_calls(self) -> bool:
        """Whether iptables sees what a bridge passes (br_netfilter); also if nobody knows."""
        unknown = "0" if self._dump.text("sysctl") else "1"
        return self.settings.get("net/bridge/bridge-nf-call-iptables", unknown) == "1"

    def bridges(self, dev: str, *ends: IPv4Address) -> bool:
        """Whether all of some addresses are other hosts' behind the bridge `dev`."""
        link = self.links.get(dev)
        networks = [one.address.network for one in self.addresses if one.dev == dev]
        behind = any(all(end in network for end in ends) for network in networks)
        return link is not None and link.kind == "bridge" and behind and not any(map(self.owns, ends))

    def owns(self, address: IPv4Address) -> str:
        """The interface that has the address; "" if it is not the node's, or a loopback address."""
        return next((one.dev for one in self.addresses if one.address.ip == address and not address.is_loopback), "")

    def leads(self, address: IPv4Address) -> str:
        """The interface by which packets to an address leave; "" if there is none."""
        return next(iter(self._leads(address, 0)), "")

    def source(self, target: IPv4Address) -> IPv4Address:
        """The address that the kernel chooses for what the node sends."""
        choice = self.routing.choices(HookPacket(_NO_HOST, target))[0]
        if choice.taken.kind == "local":
            return target
        via = choice.taken.via or target
        own = [one for one in self.addresses if not one.host_only]
        on = [one.address for one in own if one.dev == choice.taken.dev]
        best = [*(one for one in on if via in one.network), *on, *(one.address for one in own)]
        return choice.source or (best[0].ip if best else target)

    def listens(self, packet: HookPacket) -> bool:
        """Whether a socket takes the packet; also if nobody knows."""
        if packet.protocol not in _NETS or not self._dump.text("ss").strip():
            return True
        return any(
            net == _NETS[packet.protocol] and port == packet.destination_port and own in (None, packet.destination)
            for net, own, port in self._sockets
        )

    def connections(self, packet: HookPacket) -> list[str]:
        """The connections of conntrack that have the packet's source, destination and port, as it prints them."""
        wanted = {f"src={packet.source}", f"dst={packet.destination}"}
        wanted |= {f"dport={packet.destination_port}"} if packet.protocol in _NETS else set()
        protocol = _PROTOCOLS.get(packet.protocol, "")
        lines = self._dump.text("conntrack").split("\n")
        return [line.strip() for line in lines if line[: len(protocol)] == protocol and wanted <= _original(line)]

    @cached_property
    def _sockets(self) -> list[tuple[str, IPv4Address | None, int]]:
        """The listening sockets: tcp or udp, address (None: any), port."""
        found: list[tuple[str, IPv4Address | None, int]] = []
        for line in self._dump.text("ss").split("\n"):
            words = line.split()
            address, _, port = words[4].rpartition(":") if len(words) > 5 else ("", "", "")
            if not (port.isascii() and port.isdecimal() and len(port) < 6):
                continue
            address = address.partition("%")[0].strip("[]").removeprefix("::ffff:")
            if address in ("*", "::"):
                found.append((words[0], None, int(port)))
            elif ":" not in address:
                own = self._address(address)
                found.append((words[0], own if int(own) else None, int(port)))
        return found

    def _address(self, text: str) -> IPv4Address:
        try:
            return IPv4Address(text)
        except ValueError as error:
            raise self._dump.wrong(f"ss: no address: {text[:40]!a}") from error

    def _leads(self, address: IPv4Address, mark: int) -> Sequence[str]:
        choices = self.routing.choices(HookPacket(_NO_HOST, address, mark=mark))
        return [one.taken.dev for one in choices if not one.taken.error and one.taken.kind == "unicast"]

    def _saved(self) -> tuple[str, str]:
        """What iptables-nft and iptables-legacy print. `iptables-save` is one of them, as `iptables -V` says."""
        plain, nft, legacy = map(self._dump.text, _SAVED)
        if "nf_tables" in self._dump.text("iptables-version"):
            nft = nft or plain
        else:
            legacy = legacy or plain
        return nft if _rules(nft) else "", legacy if _rules(legacy) and _rules(nft) != _rules(legacy) else ""

    def _read(self, reader: Callable[[], Read]) -> Read:
        try:
            return reader()
        except UsageError as error:
            raise self._dump.wrong(str(error).replace(_SAVED[0], self._wrong_file(error), 1)) from error

    def _wrong_file(self, error: UsageError) -> str:
        """Which of the files with iptables' rules an error is about; its sentence names the program."""
        for file in _SAVED:
            try:
                tables(self._dump.text(file))
            except UsageError as own:
                if str(own) == str(error):
                    return file
        return _SAVED[0]


def _original(line: str) -> set[str]:
    """The words of a connection's first tuple."""
    parts = line.split("src=", 2)
    return {*f"src={parts[1]}".split()} if len(parts) == 3 else set()


def _rules(text: str) -> list[str]:
    """The lines that say something, without counters; none if there are no rules and no policies but ACCEPT."""
    lines = [_COUNTERS.sub("", line).strip() for line in text.split("\n")]
    said = [line for line in lines if line and line[0] != "#"]
    return said if any(line[:1] == "-" or (line[:1] == ":" and " DROP" in line) for line in said) else []
