"""A dumped node's routing answers what the kernel answers: `ip route get` for rules, tables, marks and interfaces."""

from __future__ import annotations

import json
import os
import random
import secrets
import subprocess
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, Any

import pytest

from nslab.app.dumps import script
from nslab.linux.dumps import read_dump
from nslab.trace.dump.routing import Routing
from nslab.trace.rules.packet import HookPacket

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nslab.trace.dump.routing import RouteChoice

SEEDS = range(20) if os.environ.get("NSLAB_SLOW") == "1" else range(3)
QUESTIONS = 60
DEVICES = ("v0", "v1", "v2")
TABLES = ("main", "100", "200")
NETWORKS = ("10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.3/32", "172.16.0.0/12", "default")


@pytest.fixture
def ns() -> Iterator[str]:
    """A network namespace with three links, an address on each."""
    name = f"nslab-routing-{secrets.token_hex(4)}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    lines = ["link set lo up"]
    for number, dev in enumerate(DEVICES):
        lines += [f"link add {dev} type veth peer name p{number}", f"link set p{number} up", f"link set {dev} up"]
        lines += [f"addr add 192.0.2.{number * 32 + 1}/27 dev {dev}"]
    batch(name, lines)
    subprocess.run(
        ["ip", "netns", "exec", name, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0",
         *(f"net.ipv4.conf.{dev}.rp_filter=0" for dev in DEVICES)], check=True,
    )  # fmt: skip
    yield name
    subprocess.run(["ip", "netns", "del", name], check=True)


def batch(ns: str, lines: list[str], *options: str) -> str:
    argv = ["ip", "-n", ns, *options, "-force", "-batch", "-"]
    done = subprocess.run(argv, input="\n".join(lines) + "\n", capture_output=True, text=True, check=False)
    return done.stdout


def wanted(dice: random.Random) -> list[str]:
    """Routes and rules of every kind; some are refused, and so are not there."""
    lines = [f"route add default via 192.0.2.{number * 32 + 2} table {table}" for number, table in enumerate(TABLES)]
    kinds = ["blackhole", "unreachable", "prohibit", "throw", "throw"]
    for _ in range(30):
        number = dice.randrange(3)
        how = dice.choice([f"via 192.0.2.{number * 32 + 2} dev v{number}", f"dev v{number}"] * 4 + kinds)
        kind, way = (how, "") if how in kinds else ("", how)
        place = f"table {dice.choice(TABLES)} metric {dice.choice([0, 5, 9])}"
        lines.append(" ".join(f"route add {kind} {dice.choice(NETWORKS)} {way} {place}".split()))
    for priority in sorted(dice.sample(range(10, 890, 10), 7)):
        selectors = [
            f"from {dice.choice(NETWORKS[:4])}", f"to {dice.choice(NETWORKS[:4])}", "fwmark 2/2", "fwmark 1",
            f"iif {dice.choice([*DEVICES, 'lo'])}", "not from 10.1.0.0/16", "ipproto udp", "dport 50-60", "tos 0x10",
        ]  # fmt: skip
        acts = [
            *(f"table {table}" for table in TABLES * 3),
            "table main suppress_prefixlength 0",
            "goto 900",
            "prohibit",
        ]
        words = " ".join(dice.sample(selectors, dice.choice([1, 1, 2])))
        lines.append(f"rule add {words} {dice.choice(acts)} pref {priority}")
    return [*lines, "rule add pref 900 from all table 200"]


def question(dice: random.Random) -> tuple[str, HookPacket, str]:
    """What is asked of the kernel, and of us."""
    networks = [IPv4Network(to) for to in NETWORKS if to != "default"] + [
        IPv4Network("192.0.2.0/25"),
        IPv4Network("8.8.0.0/16"),
    ]
    to, source = (
        IPv4Address(int(network.network_address) + dice.randrange(min(network.num_addresses, 500)))
        for network in (dice.choice(networks), dice.choice(networks[:4]))
    )
    mark, iif, udp, port = (
        dice.choice([0, 1, 2, 3]),
        dice.choice(["", *DEVICES]),
        dice.random() < 0.5,
        dice.choice([53, 80]),
    )
    protocol = 17 if udp else 6
    line = f"route get {to}" + (f" from {source} iif {iif}" if iif else "") + (f" mark {mark}" if mark else "")
    line += f" ipproto {'udp' if udp else 'tcp'} sport 9 dport {port}"
    own = source if iif else IPv4Address(0)
    return line, HookPacket(own, to, protocol, 9, port, mark=mark), iif


@pytest.mark.parametrize("seed", SEEDS)
def test_routing_is_the_kernels(seed: int, ns: str, tmp_path: Path) -> None:
    dice = random.Random(seed)
    batch(ns, wanted(dice))
    subprocess.run(
        ["ip", "netns", "exec", ns, "sh", "-s", str(tmp_path / "dump")], input=script(), text=True, check=True
    )
    routing = Routing(read_dump(tmp_path / "dump"))
    told = 0
    for line, packet, iif in (question(dice) for _ in range(QUESTIONS)):
        done = subprocess.run(["ip", "-n", ns, "-j", *line.split()], capture_output=True, text=True, check=False)
        (choice,) = routing.choices(packet, iif)
        expected = answered(json.loads(done.stdout)[0]) if done.returncode == 0 else ("error",)
        assert ours(choice) == expected, (line, done.stdout, done.stderr)
        told += done.returncode == 0
    assert told > 5


def answered(entry: dict[str, Any]) -> tuple[str, ...]:
    """The kernel's way: local or unicast, gateway, interface."""
    kind = entry.get("type", "unicast")
    if kind in ("blackhole", "broadcast"):  # no packet of ours goes on by these
        return ("error",)
    return (kind, entry.get("gateway", ""), "lo" if kind == "local" else entry["dev"])


def ours(choice: RouteChoice) -> tuple[str, ...]:
    taken = choice.taken
    if taken.error:
        return ("error",)
    return (taken.kind, str(taken.via or ""), taken.dev)
