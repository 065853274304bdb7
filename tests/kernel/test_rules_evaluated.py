"""The kernel as the judge of nslab.trace.rules: real packets through a router, and the counters of all of its rules.

A client, a router with rules of every kind, a server; neither end answers. After each packet, the rules whose counters
moved must be those that matched in one of the evaluator's outcomes: all of them, and no other.
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
from typing import TYPE_CHECKING, Any

import pytest

sys.path.insert(0, os.path.dirname(__file__))

from labkit import until

from nslab import syscall
from nslab.dataclass import replace
from nslab.trace.rules.evaluate import evaluate
from nslab.trace.rules.packet import ACK, ICMP, SYN, TCP, UDP, Addresses, Outcome, Packet, Verdict
from nslab.trace.rules.ruleset import read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nslab.trace.rules.ruleset import Ruleset

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
ROUTES = {"10.1.0": ("c0",), "10.2.0": ("s0",), "10.8.0": ("s0",)}
HERE = Addresses(
    {IPv4Address("10.1.0.1"): "c0", IPv4Address("10.2.0.1"): "s0"},
    {IPv4Address("10.1.0.255"): "c0", IPv4Address("10.2.0.255"): "s0"},
    lambda address, _mark: ROUTES.get(str(address).rpartition(".")[0], ()),
)

SETS = """\
create nets hash:net family inet
add nets 10.2.0.0/24
add nets 10.2.0.3 nomatch
create ips hash:ip family inet
add ips 10.1.0.2
create ipport hash:ip,port family inet
add ipport 10.2.0.2,tcp:80
add ipport 10.2.0.2,icmp:echo-request
create three hash:ip,port,ip family inet
add three 10.2.0.2,tcp:80,10.1.0.2
create cidr hash:ip,port,net family inet
add cidr 10.2.0.2,udp:53,10.1.0.0/16
create netport hash:net,port family inet
add netport 10.2.0.0/16,udp:53
create ports bitmap:port range 0-65535
add ports 53
create all list:set size 8
add all ipport
add all nets
"""
RULES = """\
*raw
-A PREROUTING -p udp -m udp --dport 4789 -j CT --notrack
-A PREROUTING -m rpfilter --invert
-A PREROUTING -m rpfilter --loose
-A PREROUTING -m conntrack --ctstate INVALID
-A PREROUTING -m conntrack --ctstate NEW
-A PREROUTING -m connmark ! --mark 0x5
-A OUTPUT -d 10.2.0.0/16 -m owner --uid-owner 0
-A OUTPUT -d 10.2.0.0/16 -m owner ! --uid-owner 0
COMMIT
*mangle
-A PREROUTING -m mac --mac-source 02:00:00:00:05:01
-A PREROUTING -m mac ! --mac-source 02:00:00:00:05:01
-A PREROUTING -m ttl --ttl-lt 10
-A PREROUTING -m ttl --ttl-eq 64
-A PREROUTING -m dscp --dscp 0x0a
-A PREROUTING -m tos --tos 0x10/0x3f
-A PREROUTING -m length --length 200:65535
-A PREROUTING -m pkttype --pkt-type unicast
-A PREROUTING -m pkttype ! --pkt-type unicast
-A PREROUTING -m conntrack --ctstate UNTRACKED -j MARK --set-xmark 0x10/0x10
-A PREROUTING -m state --state INVALID -j MARK --set-xmark 0x20/0x20
-A PREROUTING -m conntrack --ctstate NEW --ctproto 6 --ctorigdst 10.2.0.2 --ctorigdstport 80
-A PREROUTING -m conntrack --ctdir REPLY
-A PREROUTING -m conntrack --ctdir ORIGINAL
-A PREROUTING -m conntrack --ctstatus SEEN_REPLY
-A PREROUTING -p tcp -m multiport --dports 80,443,1000:2000 -j MARK --set-xmark 0x1/0x1
-A PREROUTING -p tcp -m multiport ! --ports 80,443,1000:2000
-A PREROUTING -m mark --mark 0x1/0x1 -j CONNMARK --save-mark --nfmask 0xff --ctmask 0xff
-A PREROUTING -m connmark --mark 0x1/0xff
-A PREROUTING -j MARK --set-xmark 0x0/0xf
-A PREROUTING -j CONNMARK --restore-mark --nfmask 0xf --ctmask 0xf
-A PREROUTING -m mark --mark 0x1/0x1 -j MARK --set-xmark 0x4000/0x0
-A PREROUTING -p udp -m udp --dport 7777 -j TTL --ttl-set 33
-A PREROUTING -p udp -m udp --dport 7777 -j TOS --set-tos 0x10/0xff
-A PREROUTING ! -f -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN
-A PREROUTING -f
-A FORWARD -m ttl --ttl-eq 32
-A FORWARD -m tos --tos 0x10/0xff
-A POSTROUTING -m mark --mark 0x4001 -j DSCP --set-dscp 0x0a
-A POSTROUTING -o s+ -m conntrack --ctstate DNAT
-A OUTPUT -d 10.2.0.0/16 -m addrtype --src-type LOCAL --limit-iface-out
COMMIT
*nat
:SVC - [0:0]
:EP1 - [0:0]
:EP2 - [0:0]
-A PREROUTING -p tcp -m tcp --dport 30000 -j SVC
-A PREROUTING -d 10.9.0.0/24 -j NETMAP --to 10.2.0.0/24
-A PREROUTING -p tcp -m tcp --dport 8081 -j REDIRECT --to-ports 81
-A PREROUTING -d 10.8.0.1/32 -p tcp -m tcp --dport 1000:2000 -j DNAT --to-destination 10.2.0.2:5000-6000/1000
-A PREROUTING -d 10.8.0.2/32 -p tcp -j DNAT --to-destination 10.2.0.2-10.2.0.3
-A PREROUTING -d 10.8.0.3/32 -p tcp -j DNAT --to-destination 10.2.0.2:9000-9001
-A INPUT -p tcp -m tcp --dport 81 -j SNAT --to-source 10.1.0.77
-A OUTPUT -d 10.8.0.4/32 -p udp -j DNAT --to-destination 10.2.0.2:53
-A POSTROUTING -m set --match-set three dst,dst,src -j MASQUERADE --random-fully
-A POSTROUTING -p udp -m udp --dport 53 -j SNAT --to-source 10.2.0.1:20000-30000
-A POSTROUTING -m conntrack --ctstate SNAT
-A SVC -m statistic --mode random --probability 0.50000000000 -j EP1
-A SVC -j EP2
-A EP1 -p tcp -j DNAT --to-destination 10.2.0.2:8080
-A EP2 -p tcp -j DNAT --to-destination 10.2.0.3:8080
COMMIT
*filter
:A - [0:0]
:B - [0:0]
:C - [0:0]
:SETS - [0:0]
-A INPUT -m addrtype --dst-type LOCAL
-A INPUT -m addrtype --dst-type BROADCAST
-A INPUT -i c0 -p tcp -m tcp --dport 81 -m conntrack --ctstate DNAT
-A INPUT -j DROP
-A FORWARD -m mark --mark 0x800000/0x800000
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -m state --state NEW -m comment --comment "새로운 \\"packet\\" -j DROP" -j A
-A FORWARD -j SETS
-A FORWARD -m physdev ! --physdev-is-in
-A FORWARD -m physdev --physdev-is-bridged
-A FORWARD -m limit --limit 5000/sec --limit-burst 5000
-A FORWARD -m hashlimit --hashlimit-upto 5000/sec --hashlimit-burst 5000 --hashlimit-mode srcip --hashlimit-name one
-A FORWARD -p tcp -m connlimit --connlimit-upto 100 --connlimit-mask 32 --connlimit-saddr
-A FORWARD -m iprange --src-range 10.1.0.1-10.1.0.9 ! --dst-range 10.2.0.3-10.2.0.9
-A FORWARD -p udp -m udp --dport 6000 -m recent --set --name seen --mask 255.255.255.255 --rsource
-A FORWARD -p udp -m udp --dport 6000 -m recent --rcheck --name seen --mask 255.255.255.255 --rsource
-A FORWARD -p udp -m udp --dport 6001 -m statistic --mode random ! --probability 0.50000000000 -j DROP
-A FORWARD -p udp -m udp --dport 6002 -m u32 --u32 "0x6&0xff=0x11" -j DROP
-A FORWARD -p udp -m udp --dport 6003 -j REJECT --reject-with icmp-host-prohibited
-A FORWARD -p udp -m udp --dport 6004 -j LOG --log-prefix "-j DROP"
-A FORWARD -p udp -m udp --dport 6004 -j NFLOG --nflog-group 5
-A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu
-A FORWARD -p icmp -m icmp --icmp-type 8
-A FORWARD -p icmp -m icmp --icmp-type 3/4
-A FORWARD -m conntrack --ctstate INVALID -j DROP
-A A -i eth+ -j DROP
-A A ! -i eth+ -g B
-A A -j DROP
-A B -p udp -m udp --dport 53 -j RETURN
-A B -j C
-A B -m addrtype ! --dst-type LOCAL
-A C -p tcp -m tcp --dport 443 -j ACCEPT
-A C -j RETURN
-A C -j DROP
-A SETS -m set --match-set nets dst
-A SETS -m set --match-set nets dst --return-nomatch
-A SETS -m set ! --match-set nets dst
-A SETS -m set --match-set ips src
-A SETS -m set --match-set ipport dst,dst
-A SETS -m set --match-set cidr dst,dst,src
-A SETS -m set --match-set netport dst,dst
-A SETS -m set --match-set ports dst
-A SETS -m set --match-set all dst,dst
COMMIT
"""
NFT = """\
table inet nslab {
    set nets { type ipv4_addr; flags interval; elements = { 10.2.0.0-10.2.0.2, 10.1.0.0/24 } ; }
    set flows { type ipv4_addr . inet_proto . inet_service; flags interval
        elements = { 10.2.0.0/24 . udp . 50-60, 10.2.0.2 . tcp . 80 } ; }
    set seen { type ipv4_addr; flags dynamic,timeout; timeout 60s; }
    map marks { type inet_service : mark; elements = { 80 : 0x100, 443 : 0x200 } ; }
    map way { type inet_proto : verdict; elements = { tcp : jump of_tcp, udp : goto of_udp } ; }
    chain of_tcp {
        tcp dport 443 counter return
        tcp flags syn / syn,rst,ack,fin counter
        tcp flags != syn counter
        meta mark set tcp dport map @marks counter
        ct mark 0x1 counter
    }
    chain of_udp {
        udp dport 6005 counter drop
        udp dport { 53, 6000-6001 } counter
        numgen random mod 2 vmap { 0 : jump even, 1 : jump odd }
        udp dport 6006 counter reject with icmp host-unreachable
    }
    chain even { counter; }
    chain odd { counter; }
    chain early {
        type filter hook prerouting priority mangle + 5; policy accept;
        ct state new counter
        ct state { established, related } counter
        ct state invalid,untracked counter
        ct status dnat counter
        iifname "c*" counter
        iif "lo" counter
        fib daddr type local counter
        fib daddr . iif type { local, broadcast } counter
        fib saddr . iif oif missing counter
        fib saddr oif exists counter
        ip ttl < 10 counter
        ip dscp af11 counter
        meta length 200-65535 counter
        icmp type echo-request counter
        icmp type { echo-reply, destination-unreachable } counter
        ip protocol != { tcp, udp } counter
        ether saddr 02:00:00:00:05:01 counter
        ct direction reply counter
        ct original ip daddr 10.2.0.2 counter
        meta pkttype host counter
    }
    chain forward {
        type filter hook forward priority filter; policy accept;
        meta mark set meta mark or 0x800000 counter
        meta mark & 0xff == 0x10 counter
        meta mark and 0x4000 == 0 counter
        ip daddr @nets counter
        ip saddr != @nets counter
        ip daddr . meta l4proto . th dport @flows counter
        ip daddr & 255.255.0.255 == 10.2.0.3 counter
        meta l4proto vmap @way
        update @seen { ip saddr } counter
        limit rate 100/second counter
        limit rate over 100/second counter
        oifname "s0" meta nfproto ipv4 counter
    }
    chain after {
        type filter hook postrouting priority srcnat + 5; policy accept;
        ct status snat counter
        ct status snat,dnat counter
        oifname "s0" ct status & (snat|dnat) == 0 counter
    }
}
"""


def ns(name: str, *argv: str, text: str = "") -> str:
    done = subprocess.run(["ip", "netns", "exec", name, *argv], input=text, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stderr}"
    return done.stdout


@pytest.fixture(scope="module", autouse=True)
def world() -> Iterator[None]:
    """The three hosts, and the router's rules: those of nft come last."""
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
        ns(ROUTER, "iptables-restore", text=RULES)
        ns(ROUTER, "nft", "-f", "-", text=NFT)
        yield
    finally:
        for name in (CLIENT, ROUTER, SERVER):
            subprocess.run(["ip", "netns", "delete", name], check=False)


@pytest.fixture(scope="module")
def ruleset(world: None) -> Ruleset:
    dumped = ns(ROUTER, "iptables-save"), ns(ROUTER, "ipset", "save"), ns(ROUTER, "nft", "-j", "list", "ruleset")
    return read(*dumped)


def counted() -> Counter[tuple[str, str, int]]:
    """Each rule's packets: by table, chain, and number in the chain."""
    found: Counter[tuple[str, str, int]] = Counter()
    table, numbers = "", Counter[tuple[str, str]]()
    for line in ns(ROUTER, "iptables-save", "-c").splitlines():
        table = line[1:] if line.startswith("*") else table
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


def raw(packet: Packet) -> bytes:
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


def send(packet: Packet) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as out:
        out.sendto(raw(packet), (str(packet.destination), 0))


def way(ruleset: Ruleset, packet: Packet) -> list[list[Outcome]]:
    """All ways through the router: the outcomes at its hooks, in their order."""
    if not packet.iif:
        return on(ruleset, packet, ("OUTPUT", "POSTROUTING"))
    ways: list[list[Outcome]] = []
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


def on(ruleset: Ruleset, packet: Packet, hooks: tuple[str, ...]) -> list[list[Outcome]]:
    first, *others = hooks
    ways: list[list[Outcome]] = []
    for end in evaluate(ruleset, packet, first, HERE):
        if others and end.verdict is Verdict.ACCEPT:
            ways += [[end, *rest] for rest in on(ruleset, end.packet, tuple(others))]
        else:
            ways.append([end])
    return ways


def matched(outcomes: list[Outcome], counting: Counter[tuple[str, str, int]]) -> Counter[tuple[str, str, int]]:
    """The rules that matched on a way, as far as they have counters."""
    steps = (step for end in outcomes for step in end.steps if step.number and step.result != "no match")
    return Counter(key for step in steps if (key := (step.table, step.chain, step.number)) in counting)


def client(**changes: Any) -> Packet:
    fields = {"source": "10.1.0.2", "destination": "10.2.0.2", "source_port": 40000, "destination_port": 80, **changes}
    fields |= {name: IPv4Address(fields[name]) for name in ("source", "destination")}
    return Packet(**{"iif": "c0", "mac": MAC, **fields})


def judge(ruleset: Ruleset, packet: Packet, host: str = CLIENT, act: Callable[[], Any] | None = None) -> list[Outcome]:
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
def test_every_rule_counts_as_it_was_evaluated(ruleset: Ruleset, changes: dict[str, Any]) -> None:
    judge(ruleset, client(**{"source_port": next(NUMBER), **changes}))


def test_replies_are_established_and_meet_no_nat(ruleset: Ruleset) -> None:
    number = next(NUMBER)
    judge(ruleset, client(source_port=number, destination_port=22))
    reply = Packet(
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
def test_what_the_router_itself_sends(ruleset: Ruleset, uid: int, to: str) -> None:
    number = next(NUMBER)

    def act() -> None:
        os.setuid(uid)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            out.bind(("10.2.0.1", number))
            out.sendto(b"x" * 30, (to, 99))

    sent = Packet(
        IPv4Address("10.2.0.1"), IPv4Address(to), UDP, number, 99, length=58, iif="", oif="s0", uid=uid, gid=0
    )
    judge(ruleset, sent, ROUTER, act)


def test_a_choice_is_one_of_the_evaluators(ruleset: Ruleset) -> None:
    """Within 40 connections both endpoints are taken: each has the chance 1/2."""
    taken = Counter[str]()
    for _ in range(40):
        first, *_ = judge(ruleset, client(source_port=next(NUMBER), destination_port=30000))
        taken[str(first.packet.destination)] += 1
        assert first.chance == 0.5
    assert taken.keys() == {"10.2.0.2", "10.2.0.3"}
