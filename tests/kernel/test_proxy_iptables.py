"""iptables mode in a real kernel: what is written is read back word for word, and goes without a trace.

Here with iptables-nft; tests/vm/test_proxy_legacy.py has the same tests with iptables-legacy.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

# Tests are imported by their path (importlib), so what they share must be on the path itself.
sys.path.insert(0, os.path.dirname(__file__))
sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "proxy"))

from cases import CASES, TEST_NODE, WORKER, case, differences, overall
from proxybench import Bench, bench

from nslab.linux.vm import boot as vm
from nslab.proxy import iptables
from nslab.proxy.mode import whole
from nslab.proxy.model import Endpoint, Port, ServiceInfo
from nslab.proxy.render import render
from nslab.proxy.sync import Sync
from nslab.ruletext.iptables import iptables_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.proxy.model import Proxy
    from nslab.ruletext.items import Items

VARIANT = "iptables-legacy" if vm.INSIDE in os.environ else "iptables-nft"
NODE = replace(WORKER, iptables=VARIANT)
ROUTE_LOCALNET = "/proc/sys/net/ipv4/conf/all/route_localnet"
EVERYTHING = ServiceInfo(
    "default",
    "all",
    "10.96.0.1",
    tuple(
        Port(
            protocol.lower(),
            80,
            protocol,
            30080,
            tuple(Endpoint(f"10.0.0.{n}", 80, "worker-node1") for n in range(1, 9)),
        )
        for protocol in ("TCP", "UDP", "SCTP")
    ),
    external_ips=("198.51.100.1",),
    load_balancer_ips=("203.0.113.1",),
    source_ranges=("192.168.0.0/16", "0.0.0.0/0", "198.51.100.7/24"),
    affinity=60,
    external_local=True,
    internal_local=True,
    health_check_node_port=32000,
)
"""Every kind of rule that there is with endpoints; without, what is left."""
BARE = replace(
    EVERYTHING, name="bare", cluster_ip="10.96.0.2", ports=(Port("", 80, "TCP", 30081), Port("u", 81, "UDP"))
)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path) as ready:
        yield ready


def saved(node: Bench) -> str:
    return re.sub(r" \[\d+:\d+\]$|^#.*\n", "", node.run(f"{VARIANT}-save"), flags=re.MULTILINE)


def there_and_back(node: Bench, services: list[ServiceInfo], proxy: Proxy) -> None:
    """Write everything, compare it as text, and take it away."""
    items = whole(iptables, services, proxy)
    node.do(iptables.commands({}, items, proxy))
    assert by_chain(saved(node)) == expected(items)
    assert node.run("cat", ROUTE_LOCALNET) == "1\n"
    node.do(iptables.commands(items, {}, proxy))
    left = saved(node)
    assert "KUBE" not in left
    assert "-A" not in left
    assert node.run("cat", ROUTE_LOCALNET) == "0\n"


def by_chain(text: str) -> dict[tuple[str, str], list[str]]:
    """Rules by table and chain, as text; built-in chains without rules left out."""
    found: dict[tuple[str, str], list[str]] = {}
    table = ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith(":KUBE"):
            found[table, line.split()[0][1:]] = []
        elif line.startswith("-A "):
            _, chain, rule = line.split(" ", 2)
            found.setdefault((table, chain), []).append(rule)
    return found


def expected(items: Items) -> dict[tuple[str, str], list[str]]:
    """The same of items, jumps in the order in which `-I` leaves them."""
    found: dict[tuple[str, str], list[str]] = {}
    for item, body in items.items():
        match item:
            case ("chain", table, name):
                found[table, name] = list(body)
            case ("jump", table, name, rule, _):
                found.setdefault((table, name), []).insert(0, rule)
    return found


@pytest.mark.parametrize("name", CASES)
def test_each_case_is_read_back_as_it_was_written(node: Bench, name: str) -> None:
    there_and_back(node, case(name), NODE)


def test_the_overall_services_are_read_back_as_they_were_written(node: Bench) -> None:
    there_and_back(node, overall(), replace(TEST_NODE, iptables=VARIANT))


@pytest.mark.parametrize(
    "proxy",
    [
        NODE,
        replace(NODE, large=True, masquerade_all=True, liberal=True),
        replace(NODE, node="worker-node2", cluster_cidr="", node_port_addresses=("127.0.0.0/8", "192.168.0.0/16")),
    ],
)
def test_every_kind_of_rule_is_read_back_as_it_was_written(node: Bench, proxy: Proxy) -> None:
    there_and_back(node, [EVERYTHING, BARE], proxy)


def test_localhost_node_ports_off(node: Bench) -> None:
    proxy = replace(NODE, localhost_node_ports=False)
    items = whole(iptables, [EVERYTHING], proxy)
    node.do(iptables.commands({}, items, proxy))
    assert by_chain(saved(node)) == expected(items)
    assert node.run("cat", ROUTE_LOCALNET) == "0\n"


def test_changes_leave_what_everything_at_once_would(node: Bench) -> None:
    """And rules of others stay where they are."""
    node.run(VARIANT, "-t", "filter", "-A", "FORWARD", "-s", "192.0.2.9/32", "-j", "ACCEPT")
    sync = Sync(iptables, NODE)
    less = replace(EVERYTHING, ports=tuple(replace(port, endpoints=port.endpoints[2:5]) for port in EVERYTHING.ports))
    changes: list[dict[str, ServiceInfo | None]] = [
        {},
        {EVERYTHING.key: EVERYTHING},
        {BARE.key: BARE, EVERYTHING.key: less},
        {EVERYTHING.key: replace(less, affinity=0, external_local=False)},
        {BARE.key: None},
        {EVERYTHING.key: replace(less, cluster_ip="")},
    ]
    for changed in changes:
        node.do(iptables.commands(*sync.change(changed), sync.proxy))
        wanted = expected(sync.items())
        wanted["filter", "FORWARD"].append("-s 192.0.2.9/32 -j ACCEPT")
        assert by_chain(saved(node)) == wanted


@pytest.mark.parametrize("block", [1, 4])
def test_many_transactions_leave_what_one_would(node: Bench, block: int) -> None:
    items = whole(iptables, [EVERYTHING, BARE], NODE)
    less = whole(iptables, [replace(EVERYTHING, load_balancer_ips=(), ports=EVERYTHING.ports[:2])], NODE)
    for have, want in pairwise([{}, items, less, items, {}]):
        text = iptables_text(*differences(have, want), block)
        assert text.count("*nat") > 1
        node.run(f"{VARIANT}-restore", "--noflush", text=text)
        assert by_chain(saved(node)) == expected(want)


def test_rendered_text_is_what_iptables_restore_takes(node: Bench) -> None:
    node.run(f"{VARIANT}-restore", "--noflush", text=render([EVERYTHING, BARE], WORKER))
    assert by_chain(saved(node)) == expected(whole(iptables, [EVERYTHING, BARE], WORKER))
