"""userspace mode against what the kube-proxy 1.20.2 of Debian wrote for the same Services."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from nslab.proxy import userspace
from nslab.proxy.mode import whole
from nslab.proxy.model import Endpoint, Port, Proxy, ServiceInfo
from nslab.proxy.userspace import FIRST, LAST, proxy_port, proxy_ports
from tests.unit.proxy import cases
from tests.unit.proxy.cases import CASES, REAL

if TYPE_CHECKING:
    from nslab.ruletext.items import Items

WORKER = replace(cases.WORKER, mode="userspace")
WEB = ServiceInfo("default", "web", "10.96.0.1", (Port("http", 80, "TCP", 30080), Port("ask", 80, "UDP")))


def saved(items: Items) -> dict[tuple[str, str], list[str]]:
    """Chains and jumps as `iptables-save` would list them: built-in chains have what is first, then what is last."""
    found: dict[tuple[str, str], list[str]] = {}
    for kind, table, chain, *jump in items:
        if kind == "chain":
            found[table, chain] = list(items[kind, table, chain])
        else:
            rule, place = jump
            rules = found.setdefault((table, chain), [])
            rules.insert(0 if place == "first" else len(rules), rule)
    return found


def written(text: str) -> dict[tuple[str, str], list[str]]:
    """The same of a real iptables-save, built-in chains without rules left out."""
    found: dict[tuple[str, str], list[str]] = {}
    table = ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith(":KUBE"):
            found[table, line[1:].split()[0]] = []
        elif line.startswith("-A"):
            _, chain, rule = line.split(" ", 2)
            found.setdefault((table, chain), []).append(rule)
    return found


def numbered(chains: dict[tuple[str, str], list[str]]) -> dict[tuple[str, str], list[str]]:
    """With proxy ports by their order of appearance: which numbers they are is chance."""
    seen: dict[str, str] = {}

    def number(match: re.Match[str]) -> str:
        return seen.setdefault(match[0], f"#{len(seen) + 1}")

    return {
        chain: [re.sub(r"PROXYPORT\d+|\b2\d{4}\b", number, rule) for rule in chains[chain]] for chain in sorted(chains)
    }


@pytest.mark.parametrize("case", CASES)
def test_the_rules_are_the_real_ones_but_for_port_numbers(case: str) -> None:
    ours = saved(whole(userspace, cases.written(case), WORKER))
    real = written((REAL / "v1.20" / "userspace" / case / "iptables-save").read_text())
    assert numbered(ours) == numbered(real)


def test_there_are_eighteen_cases_where_there_are_any() -> None:
    assert len(CASES) == 18


def test_a_port_is_derived_from_the_name_and_lies_below_the_node_ports() -> None:
    assert proxy_port("default/web:http", "tcp") == proxy_port("default/web:http", "tcp")
    drawn = {proxy_port(f"default/s{number}", "tcp") for number in range(2000)}
    assert min(drawn) >= FIRST
    assert max(drawn) <= LAST < 30000
    assert len(drawn) > 1700  # 2,000 balls into 10,000 boxes hit about 1,813


def test_where_two_names_meet_the_later_one_takes_the_next_free_port() -> None:
    names = [(f"default/s{number}", "tcp") for number in range(9000)]
    ports = proxy_ports(names)
    assert len(set(ports.values())) == 9000
    assert ports == proxy_ports(reversed(names))
    (first, second) = next(
        (a, b) for a in names[:400] for b in names[:400] if a < b and proxy_port(*a) == proxy_port(*b)
    )
    home = proxy_port(*first)
    assert proxy_ports([second, first]) == {first: home, second: home + 1 if home < LAST else FIRST}
    assert proxy_ports([second]) == {second: home}


def test_tcp_and_udp_do_not_stand_in_each_others_way() -> None:
    names = [(f"s{number}", protocol) for number in range(LAST - FIRST + 1) for protocol in ("tcp", "udp")]
    assert len(proxy_ports(names)) == 20000
    with pytest.raises(OverflowError, match="at most 10000 ports"):
        proxy_ports([*names, ("more", "tcp")])


def test_endpoints_are_nothing_to_the_rules() -> None:
    moved = ServiceInfo("default", "web", "10.96.0.1", (Port("http", 80, endpoints=(Endpoint("20.96.1.2", 8080),)),))
    empty = ServiceInfo("default", "web", "10.96.0.1", (Port("http", 80),))
    assert userspace.part(moved, WORKER) == userspace.part(empty, WORKER)


def test_sctp_and_headless_services_are_not_proxied() -> None:
    sctp = ServiceInfo("default", "s", "10.96.0.2", (Port("a", 80, "SCTP"),))
    headless = ServiceInfo("default", "h", "", (Port("a", 80),))
    assert userspace.part(sctp, WORKER).lines == userspace.part(headless, WORKER).lines == {}


def test_a_proxy_that_listens_on_one_address_is_named() -> None:
    bound = Proxy("node1", ("192.168.59.22",), "userspace", bind="192.168.59.22")
    port = proxy_port("default/web:http", "tcp")
    rules = saved(whole(userspace, [WEB], bound))
    output = '-p tcp -m comment --comment "default/web:http" -m tcp --dport'
    assert rules["nat", "KUBE-PORTALS-CONTAINER"][0] == (
        f"-d 10.96.0.1/32 {output} 80 -j DNAT --to-destination 192.168.59.22:{port}"
    )
    assert rules["nat", "KUBE-NODEPORT-CONTAINER"] == [f"{output} 30080 -j DNAT --to-destination 192.168.59.22:{port}"]


def test_a_change_writes_the_chains_that_differ_in_one_restore() -> None:
    old, new = whole(userspace, [], WORKER), whole(userspace, [WEB], WORKER)
    ((argv, text),) = userspace.commands(old, new, WORKER)
    assert argv == ("iptables-restore", "--noflush", "--wait")
    changed = {item: body for item, body in new.items() if old.get(item) != body}
    assert len(changed) == 5
    ((_, text),) = userspace.commands({item: old[item] for item in changed}, changed, WORKER)
    tcp, udp = proxy_port("default/web:http", "tcp"), proxy_port("default/web:ask", "udp")
    http, ask = (f'-m comment --comment "default/web:{name}"' for name in ("http", "ask"))
    host = "-j DNAT --to-destination 192.168.59.21"
    assert text.splitlines() == [
        "*filter",
        ":KUBE-NODEPORT-NON-LOCAL - [0:0]",
        f"-A KUBE-NODEPORT-NON-LOCAL -p tcp {http} -m tcp --dport {tcp} -m state --state NEW -j ACCEPT",
        "COMMIT",
        "*nat",
        ":KUBE-PORTALS-CONTAINER - [0:0]",
        ":KUBE-NODEPORT-CONTAINER - [0:0]",
        ":KUBE-PORTALS-HOST - [0:0]",
        ":KUBE-NODEPORT-HOST - [0:0]",
        f"-A KUBE-PORTALS-CONTAINER -d 10.96.0.1/32 -p tcp {http} -m tcp --dport 80 -j REDIRECT --to-ports {tcp}",
        f"-A KUBE-PORTALS-CONTAINER -d 10.96.0.1/32 -p udp {ask} -m udp --dport 80 -j REDIRECT --to-ports {udp}",
        f"-A KUBE-NODEPORT-CONTAINER -p tcp {http} -m tcp --dport 30080 -j REDIRECT --to-ports {tcp}",
        f"-A KUBE-PORTALS-HOST -d 10.96.0.1/32 -p tcp {http} -m tcp --dport 80 {host}:{tcp}",
        f"-A KUBE-PORTALS-HOST -d 10.96.0.1/32 -p udp {ask} -m udp --dport 80 {host}:{udp}",
        f"-A KUBE-NODEPORT-HOST -p tcp {http} -m tcp --dport 30080 {host}:{tcp}",
        "COMMIT",
    ]
