"""The order in which the kernel asks nat chains, and chains of one priority: as nslab.trace.rules assumes it."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nslab.trace.rules.evaluate import evaluate
from nslab.trace.rules.packet import UDP, Addresses, HookPacket
from nslab.trace.rules.ruleset import read
from tests.kernel.labkit import until

if TYPE_CHECKING:
    from collections.abc import Iterator

WORLD = f"nslab.order{os.getpid()}"
CLIENT, ROUTER = f"{WORLD}.client", f"{WORLD}.router"
OWN = ("10.1.0.1", "10.1.0.11", "10.1.0.12")
NFT = (Path(__file__).parents[1] / "data" / "rules" / "order.nft").read_text()
IPTABLES = "*nat\n-A PREROUTING -p udp -m udp --dport 99 -j DNAT --to-destination 10.1.0.12\nCOMMIT\n"


def run(*argv: str, text: str = "") -> str:
    done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stderr}"
    return done.stdout


def on_router(*argv: str, text: str = "") -> str:
    return run("ip", "netns", "exec", ROUTER, *argv, text=text)


@pytest.fixture(scope="module", autouse=True)
def world() -> Iterator[None]:
    """iptables' rule came first, then the tables of nft."""
    try:
        for name in (CLIENT, ROUTER):
            run("ip", "netns", "add", name)
        run("ip", "link", "add", "eth0", "netns", CLIENT, "type", "veth", "peer", "name", "c0", "netns", ROUTER)
        run("ip", "-n", CLIENT, "address", "add", "10.1.0.2/24", "dev", "eth0")
        for address in OWN:
            run("ip", "-n", ROUTER, "address", "add", f"{address}/24", "dev", "c0")
        run("ip", "-n", ROUTER, "link", "set", "c0", "up")
        run("ip", "-n", CLIENT, "link", "set", "eth0", "up")
        on_router("iptables-restore", text=IPTABLES)
        on_router("nft", "-f", "-", text=NFT)
        yield
    finally:
        for name in (CLIENT, ROUTER):
            subprocess.run(["ip", "netns", "delete", name], check=False)


def counted() -> Counter[tuple[str, str, int]]:
    """The packets of each rule of nft's tables: by table, chain and number."""
    found, numbers = Counter[tuple[str, str, int]](), Counter[tuple[str, str]]()
    for one in json.loads(on_router("nft", "-j", "list", "ruleset"))["nftables"]:
        if (rule := one.get("rule")) and rule["table"] != "nat":
            place = f"ip {rule['table']}", rule["chain"]
            numbers[place] += 1
            counters = [part["counter"]["packets"] for part in rule["expr"] if "counter" in part]
            found[*place, numbers[place]] = counters[0]
    return found


@pytest.mark.parametrize("port", [53, 77, 88, 99, 1000])
def test_a_packet_is_asked_in_the_kernels_order(port: int) -> None:
    dumped = on_router("iptables-save"), "", on_router("nft", "-j", "list", "ruleset")
    packet = HookPacket(IPv4Address("10.1.0.2"), IPv4Address("10.1.0.1"), UDP, 4000 + port, port, iif="c0")
    local = Addresses({IPv4Address(address): "c0" for address in OWN})
    (end,) = evaluate(read(*dumped), packet, "PREROUTING", local)
    expected = Counter((step.table, step.chain, step.number) for step in end.steps if step.number)
    before = counted()
    script = f"exec 3<>/dev/udp/10.1.0.1/{port}; echo x >&3"
    run("ip", "netns", "exec", CLIENT, "bash", "-c", script)
    until(lambda: counted() - before == expected)
