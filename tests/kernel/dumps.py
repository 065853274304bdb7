"""What the kernel says of namespaces, in the words of `ip -j`, `bridge -j`, `iptables-save` and `ipset save`.

A second opinion: nothing of nslab's own reading is used here.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nslab.admission.load import load
from nslab.compiler import compile_lab
from nslab.compiler.placement import assign_addresses
from nslab.lab.types import Encapsulation, ProxyMode
from nslab.linux import owned
from nslab.linux.kernel import LinuxKernel
from nslab.linux.netns import Namespaces
from nslab.objects.inet import Address
from nslab.objects.ipset import IpSet, SetMember
from nslab.objects.iptables import Chain, Jump
from nslab.objects.links import Bridge, Veth
from nslab.objects.namespaces import Netns
from nslab.objects.needs import HostFeatures
from nslab.objects.neighbours import Fdb, Neighbour
from nslab.objects.ports import BridgePort, LinkUp
from nslab.objects.process import Process
from nslab.objects.routes import Blackhole, Route
from nslab.objects.sysctl import Sysctl
from nslab.objects.tunnels import Tun, Vxlan

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from nslab.objects.base import KernelObject, State
    from nslab.objects.plan import Step, Transaction

LABS = Path(__file__).parents[2] / "labs"
NETWORKS = ("IPIP", "IPIPCrossSubnet", "VXLAN", "VXLANCrossSubnet", "None", "kubenet", "flannel")
"""The encapsulations of calico-two-node (IPIP as the stand-in), kubenet-two-node and flannel-two-node."""
BUILTIN = {"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"}


def state_of(network: str, name: str, processes: bool = False, without: str = "", mode: str = "iptables") -> State:
    """One of NETWORKS, as a lab of that name, with a proxy mode; one pod may be missing."""
    plugin = network if network in ("kubenet", "flannel") else "calico"
    lab = load(LABS / f"{plugin}-two-node" / "lab.yaml")
    if plugin == "calico":
        lab = replace(lab, encapsulation=Encapsulation(network))
    lab = assign_addresses(replace(lab, name=name, proxy_mode=ProxyMode(mode)))
    lab = replace(lab, pods=tuple(pod for pod in lab.pods if pod.name != without))
    state = compile_lab(lab, HostFeatures(ipip=False))
    return state if processes else tuple(obj for obj in state if not isinstance(obj, Process))


class NoAgents:
    """In the place of the nodes' processes."""

    def run(self, steps: Sequence[Step]) -> None:
        """Start nothing."""


class Real:
    """The real kernel with a lab's folder, and nothing remembered between transactions."""

    def __init__(self, spaces: Namespaces) -> None:
        self._spaces = spaces

    def run(self, transaction: Transaction) -> None:
        """As LinuxKernel."""
        LinuxKernel(self._spaces, NoAgents(), "iptables").run(transaction)  # type: ignore[arg-type]


@contextlib.contextmanager
def real(lab: str) -> Iterator[Real]:
    """A lab's folder, for as long as it takes."""
    owned.claim(lab)
    try:
        with Namespaces() as spaces:
            yield Real(spaces)
    finally:
        owned.release(lab)


def output(*argv: str) -> str:
    """What a command prints."""
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stderr}"
    return done.stdout


def listed(*argv: str) -> list[dict[str, Any]]:
    """What a command with -j lists; empty objects are iproute2's way of leaving something out."""
    return [entry for entry in json.loads(output(*argv) or "[]") if entry]


def named(lab: str) -> list[str]:
    """The lab's namespaces, as `ip netns` has them."""
    return sorted(
        name
        for line in output("ip", "netns", "list").splitlines()
        if (name := line.split()[0]).startswith(f"nslab.{lab}.")
    )


# --- State and kernel in the same plain words --------------------------------------------------------------------


def shown(state: Iterable[KernelObject]) -> set[tuple[Any, ...]]:
    """A state in plain words."""
    words: set[tuple[Any, ...]] = set()
    builtin: dict[tuple[str, str, str], list[str]] = {}
    for obj in state:
        if isinstance(obj, Jump):
            builtin.setdefault((obj.ns, obj.table, obj.chain), []).append(obj.rule)
        else:
            words.update(_words(obj))
    return words | {("rules", *where, tuple(rules)) for where, rules in builtin.items()}


def _words(obj: KernelObject) -> Iterator[tuple[Any, ...]]:
    match obj:
        case Netns(ns=ns):
            yield "netns", ns
        case Veth():
            yield "link", obj.ns, obj.name, "veth", obj.mac, obj.mtu
            yield "link", obj.peer_ns, obj.peer, "veth", obj.peer_mac, obj.mtu
        case Bridge():
            yield "link", obj.ns, obj.name, "bridge", obj.mac, obj.mtu
        case Vxlan():
            yield "link", obj.ns, obj.name, "vxlan", obj.mac, obj.mtu
        case Tun():
            yield "link", obj.ns, obj.name, "tun", "", obj.mtu
        case BridgePort():
            yield "port", obj.ns, obj.dev, obj.bridge, obj.hairpin
        case LinkUp():
            yield "up", obj.ns, obj.dev
        case Address():
            yield "address", obj.ns, obj.dev, str(obj.address)
        case Route():
            via = str(obj.via) if obj.via else ""
            yield "route", obj.ns, str(obj.to), obj.dev, via, obj.protocol, obj.onlink
        case Blackhole():
            yield "blackhole", obj.ns, str(obj.to), obj.protocol
        case Neighbour():
            yield "neighbour", obj.ns, obj.dev, str(obj.address), obj.mac
        case Fdb():
            yield "fdb", obj.ns, obj.dev, obj.mac, str(obj.dst)
        case Sysctl():
            yield "sysctl", obj.ns, obj.path, obj.value
        case IpSet():
            yield "set", obj.ns, obj.name, obj.type
        case SetMember():
            yield "member", obj.ns, obj.set, obj.member
        case Chain():
            yield "rules", obj.ns, obj.table, obj.name, obj.rules
        case _:
            raise AssertionError(obj)


def seen(lab: str, settings: Iterable[KernelObject]) -> set[tuple[Any, ...]]:
    """What is there in plain words. Of the thousand settings, those of `settings` that are still there."""
    settings = tuple(settings)

    def words(ns: str) -> list[tuple[Any, ...]]:
        paths = [obj.path for obj in settings if isinstance(obj, Sysctl) and obj.ns == ns]
        return [("netns", ns), *_links(ns), *_inet(ns), *_rules(ns), *_settings(ns, paths)]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return {word for found in pool.map(words, named(lab)) for word in found}


def _links(ns: str) -> Iterator[tuple[Any, ...]]:
    for link in listed("ip", "-n", ns, "-j", "-d", "link"):
        name = link["ifname"]
        if "UP" in link["flags"]:
            yield "up", ns, name
        if name == "lo":
            continue
        yield "link", ns, name, link["linkinfo"]["info_kind"], link.get("address", ""), link["mtu"]
        if "master" in link:
            yield "port", ns, name, link["master"], link["linkinfo"]["info_slave_data"]["hairpin"]


def _inet(ns: str) -> Iterator[tuple[Any, ...]]:
    for link in listed("ip", "-n", ns, "-4", "-j", "addr"):
        for address in link["addr_info"]:
            if link["ifname"] != "lo":
                yield "address", ns, link["ifname"], f"{address['local']}/{address['prefixlen']}"
    for route in listed("ip", "-n", ns, "-4", "-j", "route"):
        to = {"default": "0.0.0.0/0"}.get(route["dst"], route["dst"])
        to = to if "/" in to else f"{to}/32"
        by = route.get("protocol", "boot")
        if route.get("type") == "blackhole":
            yield "blackhole", ns, to, by
        elif by != "kernel":
            yield "route", ns, to, route["dev"], route.get("gateway", ""), by, "onlink" in route["flags"]
    for entry in listed("ip", "-n", ns, "-4", "-j", "neigh"):
        if "PERMANENT" in entry["state"]:
            yield "neighbour", ns, entry["dev"], entry["dst"], entry["lladdr"]
    for entry in listed("bridge", "-n", ns, "-j", "fdb"):
        if "dst" in entry:
            yield "fdb", ns, entry["ifname"], entry["mac"], entry["dst"]


def _rules(ns: str) -> Iterator[tuple[Any, ...]]:
    rules: dict[tuple[str, str], list[str]] = {}
    table = ""
    for line in output("ip", "netns", "exec", ns, "iptables-save").splitlines():
        match line[:1], line.split(maxsplit=2):
            case "*", _:
                table = line[1:]
            case ":", [chain, *_]:
                rules[table, chain[1:]] = []
            case "-", [_, chain, rule]:
                rules[table, chain].append(rule)
    for (table, chain), body in rules.items():
        if body or chain not in BUILTIN:
            yield "rules", ns, table, chain, tuple(body)
    for line in output("ip", "netns", "exec", ns, "ipset", "save").splitlines():
        match line.split():
            case ["create", name, kind, *_]:
                yield "set", ns, name, kind
            case ["add", name, member]:
                yield "member", ns, name, member


def _settings(ns: str, paths: list[str]) -> Iterator[tuple[Any, ...]]:
    if paths:
        read = "".join(f"echo {path} $(cat /proc/sys/{path} 2>/dev/null)\n" for path in paths)
        for line in output("ip", "netns", "exec", ns, "sh", "-c", read).splitlines():
            path, _, value = line.partition(" ")
            if value:
                yield "sysctl", ns, path, value


# --- Everything that the kernel shows ----------------------------------------------------------------------------

FREE = {
    "ifindex": "the kernel counts interfaces; nslab numbers its own, `ip` lets the kernel do it",
    "link_index": "the other end's ifindex",
    "link_netnsid": "a number that a namespace gives to another when they first meet",
    "no": "a bridge's number for a port, in order of plugging in",
    "id": "the same number again",
    "designated_port": "and again",
    "forward_delay_timer": "runs",
    "hello_timer": "runs",
    "hold_timer": "runs",
    "message_age_timer": "runs",
    "gc_timer": "runs",
    "tcn_timer": "runs",
    "topology_change_timer": "runs",
}
"""Fields that are not compared, each with its reason."""

COUNTER = "net.netfilter.nf_conntrack_count"
"""Looks like a setting, and counts."""

INITVAL = re.compile(r" initval \S+$")
"""What the kernel salts a set's hashes with."""


def everything(lab: str) -> list[str]:
    """All that the tools show of a lab's namespaces, without FREE: a line each."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(lambda ns: [*_everything(ns)], spaces := named(lab))
    return [
        f"{ns} {what}: {line}"
        for ns, shown in zip(spaces, found, strict=True)
        for what, lines in shown
        for line in (*lines, "")
    ]


def different(some: list[str], others: list[str]) -> list[str]:
    """The lines that are in one of the two only."""
    left, right = Counter(some), Counter(others)
    return [*(f"- {line}" for line in left - right), *(f"+ {line}" for line in right - left)]


def _everything(ns: str) -> Iterator[tuple[str, list[str]]]:
    ip = ("ip", "-n", ns, "-j")
    for link in listed(*ip, "link"):
        output(*ip, "link", "show", "dev", link["ifname"])  # the kernel brings a link's state up to date when asked
    yield "links", _sorted(listed(*ip, "-d", "link"))
    yield "addresses", _sorted(_settled(link) for link in listed(*ip, "addr"))
    yield "routes", _sorted(listed(*ip, "-4", "-d", "route", "show", "table", "all"))
    # IPv6's routes follow from its link-local addresses: see _settled.
    yield "rules", _sorted(listed(*ip, "rule"))
    yield "neighbours", _sorted(listed(*ip, "-4", "-d", "neigh"))
    yield "fdb", _sorted(entry for entry in listed("bridge", "-n", ns, "-j", "-d", "fdb") if _lasting(entry))
    inside = ("ip", "netns", "exec", ns)
    settings = output(*inside, "sysctl", "-a", "--ignore", "--pattern", r"^net\.").splitlines()
    yield "settings", [line for line in settings if not line.startswith(COUNTER)]
    yield "iptables", _without_counters(output(*inside, "iptables-save"))
    yield "sets", sorted(INITVAL.sub("", line) for line in output(*inside, "ipset", "save").splitlines())


def _settled(link: dict[str, Any]) -> dict[str, Any]:
    """Without IPv6 link-local addresses: made of the link-layer address, but not before duplicate detection is done."""
    addresses = [address for address in link["addr_info"] if (address["family"], address["scope"]) != ("inet6", "link")]
    return {**link, "addr_info": addresses}


def _lasting(entry: dict[str, Any]) -> bool:
    """Not learnt from a passing frame, and not a group that IPv6 joins with a link-local address."""
    return "permanent" in entry.get("state", "") and not entry["mac"].startswith(("33:33:ff", "33:33:00"))


def _sorted(entries: Iterable[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps(_kept(entry), sort_keys=True) for entry in entries)


def _kept(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _kept(inner) for name, inner in value.items() if name not in FREE}
    return [_kept(inner) for inner in value] if isinstance(value, list) else value


def _without_counters(saved: str) -> list[str]:
    """The rules, chains and policies; a table that is as it was made says nothing."""
    lines = [re.sub(r" \[\d+:\d+\]$", "", line) for line in saved.splitlines()]
    return [
        line for line in lines if line and not line.startswith(("#", "*", "COMMIT")) and not line.endswith(" ACCEPT")
    ]
