"""The kernel as the judge of nslab.trace.rules: real packets through a router, and the counters of all of its rules.

A client, a router with rules of every kind, a server; neither end answers. After each packet, the rules whose counters
moved must be those that matched in one of the evaluator's outcomes: all of them, and no other. With NSLAB_SLOW set, the
same with the legacy variant of iptables.
"""

from __future__ import annotations

import json
import os
import re
import socket
import struct
import subprocess
import sys
from collections import Counter
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

sys.path.insert(0, os.path.dirname(__file__))

from labkit import until

from nslab import syscall
from nslab.dataclass import replace
from nslab.trace.rules.evaluate import evaluate
from nslab.trace.rules.packet import ACK, ICMP, SYN, TCP, UDP, Addresses, HookOutcome, HookPacket, Verdict
from nslab.trace.rules.ruleset import read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nslab.trace.rules.ruleset import NodeRules

WORLD = f"nslab.evaluated{os.getpid()}"
CLIENT, ROUTER, SERVER = (f"{WORLD}.{host}" for host in ("client", "router", "server"))
MAC = "02:00:00:00:05:01"
LINKS = f"""\
link add eth0 address {MAC} netns {CLIENT} type veth peer name c0 netns {ROUTER}
link add eth0 netns {SERVER} type veth peer name s0 netns {ROUTER}
"""
ADDRESSES = {
    CLIENT: "address add 10.1.0.2/24 brd + dev eth0\nlink set eth0 up\nroute add default via 10.1.0.1\n",
    SERVER: "address add 10.2.0.2/24 dev eth0\naddress add 10.2.0.3/24 dev eth0\nlink set eth0 up\n"
    "route add default via 10.2.0.1\n",
    ROUTER: "address add 10.1.0.1/24 brd + dev c0\naddress add 10.2.0.1/24 brd + dev s0\nlink set c0 up\n"
    "link set s0 up\nlink set lo up\nroute add 10.8.0.0/24 dev s0\n",
}
DATA = Path(__file__).parents[1] / "data" / "rules"
SETS, RULES, NFT = ((DATA / f"router.{kind}").read_text() for kind in ("sets", "rules", "nft"))
VARIANTS = ("iptables", "iptables-legacy") if os.environ.get("NSLAB_SLOW") else ("iptables",)
ROUTES = {"10.1.0": ("c0",), "10.2.0": ("s0",), "10.8.0": ("s0",)}
HERE = Addresses(
    {IPv4Address("10.1.0.1"): "c0", IPv4Address("10.2.0.1"): "s0"},
    {IPv4Address("10.1.0.255"): "c0", IPv4Address("10.2.0.255"): "s0"},
    lambda address, _mark: ROUTES.get(str(address).rpartition(".")[0], ()),
)


def ns(name: str, *argv: str, text: str = "") -> str:
    done = subprocess.run(["ip", "netns", "exec", name, *argv], input=text, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stderr}"
    return done.stdout


@pytest.fixture(scope="module", autouse=True, params=VARIANTS)
def world(request: pytest.FixtureRequest) -> Iterator[str]:
    """The three hosts, and the router's rules: those of nft come last. Yields the variant that wrote the others."""
    variant = str(request.param)
    try:
        for name in (CLIENT, ROUTER, SERVER):
            subprocess.run(["ip", "netns", "add", name], check=True)
            ns(name, "sysctl", "-qw", *(f"net/ipv6/conf/{one}/disable_ipv6=1" for one in ("all", "default")))
        subprocess.run(["ip", "-batch", "-"], input=LINKS, text=True, check=True)
        for name, lines in ADDRESSES.items():
            subprocess.run(["ip", "-n", name, "-batch", "-"], input=lines, text=True, check=True)
        for name in (CLIENT, SERVER):
            ns(name, "iptables-restore", text="*raw\n-A PREROUTING -j DROP\nCOMMIT\n")
        settings = ("conf/all/rp_filter", "conf/c0/rp_filter", "conf/s0/rp_filter", "conf/default/rp_filter")
        ns(ROUTER, "sysctl", "-qw", "net/ipv4/ip_forward=1", *(f"net/ipv4/{one}=0" for one in settings))
        ns(ROUTER, "ipset", "restore", text=SETS)
        ns(ROUTER, f"{variant}-restore", text=RULES)
        ns(ROUTER, "nft", "-f", "-", text=NFT)
        yield variant
    finally:
        for name in (CLIENT, ROUTER, SERVER):
            subprocess.run(["ip", "netns", "delete", name], check=False)


@pytest.fixture(scope="module")
def ruleset(world: str) -> NodeRules:
    saved, listed = ns(ROUTER, f"{world}-save"), ns(ROUTER, "nft", "-j", "list", "ruleset")
    legacy = world == "iptables-legacy"
    return read("" if legacy else saved, ns(ROUTER, "ipset", "save"), listed, saved if legacy else "")


def counted() -> Counter[tuple[str, str, int]]:
    """Each rule's packets: by table, chain, and number in the chain."""
    found: Counter[tuple[str, str, int]] = Counter()
    table, numbers = "", Counter[tuple[str, str]]()
    saved = ns(ROUTER, "iptables-save", "-c")
    suffix = "" if "-A PREROUTING" in saved else " (legacy)"
    for line in (saved if not suffix else ns(ROUTER, "iptables-legacy-save", "-c")).splitlines():
        table = f"{line[1:]}{suffix}" if line.startswith("*") else table
        if rule := re.match(r"\[(\d+):\d+\] -A (\S+)", line):
            numbers[table, rule[2]] += 1
            found[table, rule[2], numbers[table, rule[2]]] = int(rule[1])
    for one in json.loads(ns(ROUTER, "nft", "-j", "list", "table", "inet", "nslab"))["nftables"]:
        if rule := one.get("rule"):
            numbers["inet nslab", rule["chain"]] += 1
            counters = [part["counter"]["packets"] for part in rule["expr"] if "counter" in part]
            if counters:
                found["inet nslab", rule["chain"], numbers["inet nslab", rule["chain"]]] = counters[0]
    return found


def raw(packet: HookPacket) -> bytes:
    """The packet as bytes; the kernel fills in the header's own checksum."""
    match packet.protocol:
        case 6:
            ports = packet.source_port, packet.destination_port
            body = struct.pack("!HHIIBBHHH", *ports, 1000, 0, 80, packet.tcp_flags, 8192, 0, 0)
        case 17:
            body = struct.pack("!HHHH", packet.source_port, packet.destination_port, packet.length - 20, 0)
        case _:
            body = struct.pack("!BBHHH", packet.icmp_type, packet.icmp_code, 0, 77, 1)
    body = body.ljust(packet.length - 20, b"\0")
    ends = packet.source.packed + packet.destination.packed
    pseudo = ends + struct.pack("!BBH", 0, packet.protocol, len(body)) if packet.protocol != ICMP else b""
    place = {TCP: 16, UDP: 6}.get(packet.protocol, 2)
    body = body[:place] + struct.pack("!H", checksum(pseudo + body)) + body[place + 2 :]
    head = struct.pack("!BBHHHBBH", 69, packet.tos, packet.length, 7, 0, packet.ttl, packet.protocol, 0)
    return head + ends + body


def checksum(data: bytes) -> int:
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def inside(name: str, act: Callable[[], Any]) -> None:
    """Do something in a namespace, in a process of its own."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            with open(f"/run/netns/{name}") as there:
                syscall.setns(there.fileno(), syscall.CLONE_NEWNET)
            act()
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def send(packet: HookPacket) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as out:
        out.sendto(raw(packet), (str(packet.destination), 0))


def way(ruleset: NodeRules, packet: HookPacket) -> list[list[HookOutcome]]:
    """All ways through the router: the outcomes at its hooks, in their order."""
    if not packet.iif:
        return on(ruleset, packet, ("OUTPUT", "POSTROUTING"))
    ways: list[list[HookOutcome]] = []
    for end in evaluate(ruleset, packet, "PREROUTING", HERE):
        if end.verdict is not Verdict.ACCEPT:
            ways.append([end])
        elif HERE.kind(end.packet.destination) != "UNICAST":
            ways += [[end, *rest] for rest in on(ruleset, end.packet, ("INPUT",))]
        else:
            (out,) = HERE.routes(end.packet.destination, 0)
            forwarded = replace(end.packet, oif=out, ttl=end.packet.ttl - 1)
            ways += [[end, *rest] for rest in on(ruleset, forwarded, ("FORWARD", "POSTROUTING"))]
    return ways


def on(ruleset: NodeRules, packet: HookPacket, hooks: tuple[str, ...]) -> list[list[HookOutcome]]:
    first, *others = hooks
    ways: list[list[HookOutcome]] = []
    for end in evaluate(ruleset, packet, first, HERE):
        if others and end.verdict is Verdict.ACCEPT:
            ways += [[end, *rest] for rest in on(ruleset, end.packet, tuple(others))]
        else:
            ways.append([end])
    return ways


def matched(outcomes: list[HookOutcome], counting: Counter[tuple[str, str, int]]) -> Counter[tuple[str, str, int]]:
    """The rules that matched on a way, as far as they have counters."""
    steps = (step for end in outcomes for step in end.steps if step.number and step.result != "no match")
    return Counter(key for step in steps if (key := (step.table, step.chain, step.number)) in counting)


def client(**changes: Any) -> HookPacket:
    fields = {"source": "10.1.0.2", "destination": "10.2.0.2", "source_port": 40000, "destination_port": 80, **changes}
    fields |= {name: IPv4Address(fields[name]) for name in ("source", "destination")}
    return HookPacket(**{"iif": "c0", "mac": MAC, **fields})


def judge(
    ruleset: NodeRules, packet: HookPacket, host: str = CLIENT, act: Callable[[], Any] | None = None
) -> list[HookOutcome]:
    """Send the packet; return the evaluator's way that the kernel went."""
    before = counted()
    ways = way(ruleset, packet)
    expected = [matched(one, before) for one in ways]
    inside(host, act or (lambda: send(packet)))
    try:
        until(lambda: counted() - before in expected, 5)
    except AssertionError:
        moved = counted() - before
        lines = [f"kernel {sorted(moved - one)}, evaluator {sorted(one - moved)}" for one in expected]
        pytest.fail("\n".join(["these alone:", *lines]))
    return ways[expected.index(counted() - before)]


NUMBER = iter(range(40000, 60000))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"destination_port": 443},
        {"destination_port": 1500, "ttl": 9},
        {"destination_port": 22, "tos": 0x28},
        {"destination_port": 22, "tos": 0x10},
        {"destination": "10.2.0.3", "length": 300},
        {"tcp_flags": 0, "state": "INVALID"},
        {"destination_port": 2222, "tcp_flags": SYN | 32},
        {"source": "192.0.2.9"},
        {"source": "10.2.0.9", "destination_port": 22},
        {"protocol": UDP, "destination_port": 53},
        {"protocol": UDP, "destination_port": 4789},
        {"protocol": UDP, "destination_port": 7777},
        *({"protocol": UDP, "destination_port": port} for port in (6000, 6001, 6001, 6001, 6002, 6003, 6004)),
        *({"protocol": UDP, "destination_port": port} for port in (6005, 6006)),
        {"protocol": UDP, "destination_port": 6000, "length": 500, "source": "10.1.0.9"},
        {"protocol": ICMP},
        {"protocol": ICMP, "icmp_type": 13, "destination": "10.2.0.3"},
        {"destination_port": 30000},
        {"destination_port": 30000, "source": "10.1.0.7"},
        {"destination": "10.9.0.3", "destination_port": 22},
        {"destination": "10.8.0.1", "destination_port": 1234},
        {"destination": "10.8.0.2", "destination_port": 99},
        {"destination": "10.8.0.3", "destination_port": 99},
        {"destination": "10.8.0.3", "destination_port": 9001},
        {"destination_port": 8081},
        {"destination": "10.1.0.1", "destination_port": 22},
        {"destination": "10.2.0.1", "protocol": UDP, "destination_port": 53},
        {"destination": "10.2.0.255", "protocol": UDP, "destination_port": 99},
    ],
    ids=str,
)  # fmt: skip
def test_every_rule_counts_as_it_was_evaluated(ruleset: NodeRules, changes: dict[str, Any]) -> None:
    judge(ruleset, client(**{"source_port": next(NUMBER), **changes}))


def test_replies_are_established_and_meet_no_nat(ruleset: NodeRules) -> None:
    number = next(NUMBER)
    judge(ruleset, client(source_port=number, destination_port=22))
    reply = HookPacket(
        IPv4Address("10.2.0.2"),
        IPv4Address("10.1.0.2"),
        source_port=22,
        destination_port=number,
        tcp_flags=SYN | ACK,
        iif="s0",
        mac=json.loads(ns(SERVER, "ip", "-j", "link", "show", "eth0"))[0]["address"],
        state="ESTABLISHED",
        status=frozenset({"SEEN_REPLY", "CONFIRMED"}),
        reply=True,
        origin=client(source_port=number, destination_port=22).flow,
    )
    judge(ruleset, reply, SERVER)
    again = client(source_port=number, destination_port=22, tcp_flags=ACK)
    judge(ruleset, replace(again, state="ESTABLISHED", status=reply.status))


@pytest.mark.parametrize(("uid", "to"), [(0, "10.2.0.2"), (65534, "10.2.0.2"), (0, "10.8.0.4")])
def test_what_the_router_itself_sends(ruleset: NodeRules, uid: int, to: str) -> None:
    number = next(NUMBER)

    def act() -> None:
        os.setuid(uid)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            out.bind(("10.2.0.1", number))
            out.sendto(b"x" * 30, (to, 99))

    sent = HookPacket(
        IPv4Address("10.2.0.1"), IPv4Address(to), UDP, number, 99, length=58, iif="", oif="s0", uid=uid, gid=0
    )
    judge(ruleset, sent, ROUTER, act)


def test_a_choice_is_one_of_the_evaluators(ruleset: NodeRules) -> None:
    """Within 40 connections both endpoints are taken: each has the chance 1/2."""
    taken = Counter[str]()
    for _ in range(40):
        first, *_ = judge(ruleset, client(source_port=next(NUMBER), destination_port=30000))
        taken[str(first.packet.destination)] += 1
        assert first.chance == 0.5
    assert taken.keys() == {"10.2.0.2", "10.2.0.3"}
