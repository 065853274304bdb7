"""iptables mode against the rules that upstream's test expects of the current kube-proxy, and rule by rule."""

from __future__ import annotations

import os
import re
import shlex
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import pytest

# Tests are imported by their path (importlib), so what they share must be on the path itself.
sys.path.insert(0, os.path.dirname(__file__))

from cases import REAL, TEST_NODE, overall

from nslab.proxy import iptables
from nslab.proxy.mode import whole
from nslab.proxy.model import Endpoint, Port, Proxy, ServiceInfo
from nslab.proxy.names import endpoint_hash, port_hash
from nslab.proxy.render import render

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.ruletext.items import Items

NODE = Proxy("n1", ("192.0.2.1", "10.0.1.1"), cluster_cidr="10.0.0.0/16")
HERE, THERE = Endpoint("10.0.1.2", 8080, "n1"), Endpoint("10.0.2.2", 8080, "n2")
WEB = ServiceInfo("default", "web", "10.96.0.1", (Port("http", 80, endpoints=(HERE, THERE)),))
HASH = port_hash("default/web:http", "tcp")
SEP_HERE = f"KUBE-SEP-{endpoint_hash('default/web:http', 'tcp', '10.0.1.2:8080')}"
SEP_THERE = f"KUBE-SEP-{endpoint_hash('default/web:http', 'tcp', '10.0.2.2:8080')}"
NOTE = '-m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain"'


# --- upstream's overall test -------------------------------------------------------------------------------------


class Match(NamedTuple):
    """One thing that a rule says: `-m comment --comment X` is two."""

    option: str
    value: str
    negated: bool


def rules(text: str) -> dict[tuple[str, str], list[frozenset[Match]]]:
    """Chains that are declared, with their rules in order; what stands in a rule in whatever order."""
    found: dict[tuple[str, str], list[frozenset[Match]]] = {}
    table = ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith(":"):
            found[table, line[1:].split()[0]] = []
        elif line.startswith("-A ") and (table, line.split()[1]) in found:
            found[table, line.split()[1]].append(frozenset(_matches(shlex.split(line)[2:])))
    return found


def _matches(words: list[str]) -> Iterator[Match]:
    negated, rest = False, iter(words)
    for word in rest:
        if word == "!":
            negated = True
            continue
        value = next(rest) if word not in ("--set", "--rcheck", "--reap", "--rsource") else ""
        if word in ("-s", "-d") and "/" not in value:
            value += "/32"
        if word == "--probability":
            value = f"{float(value):.8f}"
        option = "--set-xmark" if word in ("--or-mark", "--xor-mark") else word
        if option != word:
            value += f"/{value if word == '--or-mark' else '0x0'}"
        # What iptables-save says although it is the default.
        if (option, value) not in (
            ("--reject-with", "icmp-port-unreachable"), ("--mask", "255.255.255.255"), ("--rsource", ""),
        ):  # fmt: skip
            yield Match(option, value, negated)
        negated = False


def without_nfacct(text: str) -> str:
    """As kube-proxy writes where it cannot make accounting objects: no counting rule, no counting match."""
    lines = [line for line in text.splitlines() if "localhost_nps_accepted_pkts" not in line]
    return re.sub(r" -m nfacct --nfacct-name \S+", "", "\n".join(lines))


def test_the_overall_rules_are_upstreams() -> None:
    expected = rules(without_nfacct((REAL / "current" / "overall.iptables").read_text()))
    found = rules(render(overall(), TEST_NODE))
    assert {chain for chain in found if chain[1] == "KUBE-PROXY-CANARY"} == {
        (table, "KUBE-PROXY-CANARY") for table in ("mangle", "nat", "filter")
    }
    assert {chain: body for chain, body in found.items() if chain[1] != "KUBE-PROXY-CANARY"} == expected
    assert sum(map(len, expected.values())) == 62


def test_a_large_cluster_has_no_comments_at_endpoints() -> None:
    small, large = (whole(iptables, overall(), replace(TEST_NODE, large=large)) for large in (False, True))
    assert small.keys() == large.keys()
    for item, body in large.items():
        if item[0] == "chain":
            shortened = tuple(
                re.sub(r'-m comment --comment "[^"]*" ', "", rule) if " -> " in rule or "KUBE-SEP" in item[2] else rule
                for rule in small[item]
            )
            assert body == shortened


# --- chain by chain ----------------------------------------------------------------------------------------------


def items(service: ServiceInfo, proxy: Proxy = NODE) -> Items:
    return whole(iptables, [service], proxy)


def chain(found: Items, name: str, table: str = "nat") -> list[str]:
    return list(found["chain", table, name])


def own(found: Items) -> set[str]:
    """The kinds of chains that a Service has."""
    return {
        name.rpartition("-")[0] for kind, _, name, *_ in found if kind == "chain" and len(name.split("-")[-1]) == 16
    }


def test_a_cluster_ip() -> None:
    found = items(WEB)
    half = "-m statistic --mode random --probability 0.50000000000"
    to_web = '-d 10.96.0.1/32 -p tcp -m comment --comment "default/web:http cluster IP" -m tcp --dport 80'
    assert chain(found, "KUBE-SERVICES") == [
        f"{to_web} -j KUBE-SVC-{HASH}",
        f"{NOTE} -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS",
    ]
    assert chain(found, f"KUBE-SVC-{HASH}") == [
        f"! -s 10.0.0.0/16 {to_web} -j KUBE-MARK-MASQ",
        f'-m comment --comment "default/web:http -> 10.0.1.2:8080" {half} -j {SEP_HERE}',
        f'-m comment --comment "default/web:http -> 10.0.2.2:8080" -j {SEP_THERE}',
    ]
    assert chain(found, SEP_THERE) == [
        '-s 10.0.2.2/32 -m comment --comment "default/web:http" -j KUBE-MARK-MASQ',
        '-p tcp -m comment --comment "default/web:http" -m tcp -j DNAT --to-destination 10.0.2.2:8080',
    ]
    assert own(found) == {"KUBE-SVC", "KUBE-SEP"}


def test_probabilities_are_as_the_kernel_reads_them_back() -> None:
    ends = tuple(Endpoint(f"10.0.2.{last}", 80) for last in range(2, 9))
    body = chain(items(replace(WEB, ports=(Port("http", 80, endpoints=ends),))), f"KUBE-SVC-{HASH}")
    shown = [re.search(r"--probability (\S+)", rule) for rule in body[1:]]
    assert [one and one[1] for one in shown] == [
        "0.14285714272", "0.16666666651", "0.20000000019", "0.25000000000", "0.33333333349", "0.50000000000", None,
    ]  # fmt: skip


@pytest.mark.parametrize(("protocol", "word"), [("UDP", "udp"), ("SCTP", "sctp")])
def test_the_protocol_is_in_every_match_and_in_the_names(protocol: str, word: str) -> None:
    found = items(replace(WEB, ports=(replace(WEB.ports[0], protocol=protocol, node_port=30080),)))
    name = f"KUBE-SVC-{port_hash('default/web:http', word)}"
    sep = f"KUBE-SEP-{endpoint_hash('default/web:http', word, '10.0.1.2:8080')}"
    assert chain(found, name)[-2].endswith(f"-j {sep}")
    assert f"-p {word} " in chain(found, name)[0]
    assert chain(found, sep)[1].startswith(f"-p {word} ")
    assert f"-m {word} -j DNAT" in chain(found, sep)[1]
    assert chain(found, "KUBE-NODEPORTS")[0].startswith(f'-p {word} -m comment --comment "default/web:http" -m {word} ')


def test_who_is_masqueraded_on_the_way_to_a_cluster_ip() -> None:
    def first(proxy: Proxy) -> str:
        return chain(items(WEB, proxy), f"KUBE-SVC-{HASH}")[0]

    assert first(NODE).startswith("! -s 10.0.0.0/16 -d 10.96.0.1/32 ")
    assert first(replace(NODE, masquerade_all=True)).startswith("-d 10.96.0.1/32 ")
    assert "KUBE-MARK-MASQ" not in first(replace(NODE, cluster_cidr=""))


def test_affinity() -> None:
    found = items(replace(WEB, affinity=60))
    recent = '-m comment --comment "default/web:http -> {}" -m recent --rcheck --seconds 60 --reap --name {} '
    mask = "--mask 255.255.255.255 --rsource"
    assert chain(found, f"KUBE-SVC-{HASH}")[1:3] == [
        f"{recent.format('10.0.1.2:8080', SEP_HERE)}{mask} -j {SEP_HERE}",
        f"{recent.format('10.0.2.2:8080', SEP_THERE)}{mask} -j {SEP_THERE}",
    ]
    assert len(chain(found, f"KUBE-SVC-{HASH}")) == 5
    assert f'"default/web:http" -m recent --set --name {SEP_HERE} {mask} -m tcp -j DNAT' in chain(found, SEP_HERE)[1]


def test_no_endpoints_anywhere() -> None:
    lonely = replace(WEB, ports=(Port("http", 80, node_port=30080),), external_ips=("198.51.100.1",))
    found = items(replace(lonely, load_balancer_ips=("203.0.113.1",), source_ranges=("192.0.2.0/24",)))
    comment, target = (
        '-m comment --comment "default/web:http has no endpoints"',
        "-j REJECT --reject-with icmp-port-unreachable",
    )
    assert chain(found, "KUBE-SERVICES", "filter") == [f"-d 10.96.0.1/32 -p tcp {comment} -m tcp --dport 80 {target}"]
    assert chain(found, "KUBE-EXTERNAL-SERVICES", "filter") == [
        f"-d 198.51.100.1/32 -p tcp {comment} -m tcp --dport 80 {target}",
        f"-d 203.0.113.1/32 -p tcp {comment} -m tcp --dport 80 {target}",
        f"-p tcp {comment} -m addrtype --dst-type LOCAL -m tcp --dport 30080 {target}",
    ]
    assert own(found) == set()
    assert chain(found, "KUBE-PROXY-FIREWALL", "filter") == []


def test_internal_policy_local() -> None:
    here = items(replace(WEB, internal_local=True))
    assert chain(here, "KUBE-SERVICES")[0].endswith(f"-j KUBE-SVL-{HASH}")
    assert chain(here, f"KUBE-SVL-{HASH}")[-1].endswith(f"-j {SEP_HERE}")
    assert own(here) == {"KUBE-SVL", "KUBE-SEP"}
    assert ("chain", "nat", SEP_THERE) not in here
    comment = '-m comment --comment "default/web:http has no local endpoints"'
    elsewhere = items(replace(WEB, internal_local=True), replace(NODE, node="n3"))
    assert chain(elsewhere, "KUBE-SERVICES", "filter") == [
        f"-d 10.96.0.1/32 -p tcp {comment} -m tcp --dport 80 -j DROP"
    ]
    assert own(elsewhere) == set()


def test_external_policy_local_without_a_local_endpoint_still_serves_pods_and_the_node() -> None:
    service = replace(WEB, external_local=True, ports=(replace(WEB.ports[0], node_port=30080),))
    found = items(service, replace(NODE, node="n3"))
    whose = "for default/web:http external destinations"
    assert chain(found, f"KUBE-EXT-{HASH}") == [
        f'-s 10.0.0.0/16 -m comment --comment "pod traffic {whose}" -j KUBE-SVC-{HASH}',
        f'-m comment --comment "masquerade LOCAL traffic {whose}" -m addrtype --src-type LOCAL -j KUBE-MARK-MASQ',
        f'-m comment --comment "route LOCAL traffic {whose}" -m addrtype --src-type LOCAL -j KUBE-SVC-{HASH}',
    ]
    assert own(found) == {"KUBE-EXT", "KUBE-SVC", "KUBE-SEP"}
    here = items(service)
    assert chain(here, f"KUBE-EXT-{HASH}")[3:] == [f"-j KUBE-SVL-{HASH}"]
    assert own(here) == {"KUBE-EXT", "KUBE-SVC", "KUBE-SVL", "KUBE-SEP"}


def test_source_ranges() -> None:
    service = replace(WEB, load_balancer_ips=("203.0.113.1",), source_ranges=("198.51.100.9/24", "0.0.0.0/0", "::/0"))
    found = items(service)
    comment = '-m comment --comment "default/web:http loadbalancer IP"'
    assert chain(found, f"KUBE-FW-{HASH}") == [
        f"-s 198.51.100.0/24 {comment} -j KUBE-EXT-{HASH}",
        f"{comment} -j KUBE-EXT-{HASH}",
        f"-s 203.0.113.1/32 {comment} -j KUBE-EXT-{HASH}",  # 0.0.0.0/0 has the node in it
        '-m comment --comment "other traffic to default/web:http will be dropped by KUBE-PROXY-FIREWALL"',
    ]
    only_ipv6 = items(replace(service, source_ranges=("2001:db8::/32",)))
    assert own(only_ipv6) == {"KUBE-EXT", "KUBE-SVC", "KUBE-SEP"}


def test_health_checks_are_for_policy_local() -> None:
    service = replace(WEB, load_balancer_ips=("203.0.113.1",), health_check_node_port=32000)
    assert chain(items(service), "KUBE-NODEPORTS", "filter") == []
    assert chain(items(replace(service, external_local=True)), "KUBE-NODEPORTS", "filter") == [
        '-p tcp -m comment --comment "default/web:http health check node port" -m tcp --dport 32000 -j ACCEPT'
    ]


def test_node_ports_at_some_addresses() -> None:
    def tail(**settings: object) -> list[str]:
        return chain(items(WEB, replace(NODE, **settings)), "KUBE-SERVICES")[1:]  # type: ignore[arg-type]

    local = "-m addrtype --dst-type LOCAL"
    assert tail() == [f"{NOTE} {local} -j KUBE-NODEPORTS"]
    assert tail(localhost_node_ports=False) == [f"! -d 127.0.0.0/8 {NOTE} {local} -j KUBE-NODEPORTS"]
    assert tail(node_port_addresses=("0.0.0.0/0",)) == tail()
    assert tail(node_port_addresses=("192.0.2.0/24",)) == [f"-d 192.0.2.1/32 {NOTE} -j KUBE-NODEPORTS"]
    assert tail(node_port_addresses=("127.0.0.0/8", "10.0.0.0/8")) == [
        f"-d 127.0.0.1/32 {NOTE} -j KUBE-NODEPORTS",
        f"-d 10.0.1.1/32 {NOTE} -j KUBE-NODEPORTS",
    ]


def test_localhost_is_routed_and_guarded_where_node_ports_are_reached_there() -> None:
    setting = ("sysctl", "net/ipv4/conf/all/route_localnet", "0")
    for proxy, on in (
        (NODE, True),
        (replace(NODE, localhost_node_ports=False), False),
        (replace(NODE, node_port_addresses=("192.0.2.0/24",)), False),
        (replace(NODE, node_port_addresses=("127.0.0.0/8",)), True),
    ):
        found = items(WEB, proxy)
        assert found.get(setting) == (("1",) if on else None)
        assert bool(chain(found, "KUBE-FIREWALL", "filter")) is on


def test_settings_that_change_fixed_chains() -> None:
    assert len(chain(items(WEB), "KUBE-FORWARD", "filter")) == 3
    assert len(chain(items(WEB, replace(NODE, liberal=True)), "KUBE-FORWARD", "filter")) == 2
    assert chain(items(WEB), "KUBE-POSTROUTING")[2].endswith("-j MASQUERADE --random-fully")
    assert chain(items(WEB, replace(NODE, random_fully=False)), "KUBE-POSTROUTING")[2].endswith("-j MASQUERADE")


@pytest.mark.parametrize("service", [replace(WEB, cluster_ip=""), replace(WEB, ports=())])
def test_headless_services_have_no_rules(service: ServiceInfo) -> None:
    assert items(service) == whole(iptables, [], NODE)


# --- jumps and commands ------------------------------------------------------------------------------------------


def test_jumps_end_up_in_upstreams_order() -> None:
    order = {where: [rule.split()[-1] for rule in reversed(rules)] for where, rules in _order(items(WEB)).items()}
    assert order == {
        ("filter", "INPUT"): ["KUBE-FIREWALL", "KUBE-PROXY-FIREWALL", "KUBE-NODEPORTS", "KUBE-EXTERNAL-SERVICES"],
        ("filter", "FORWARD"): ["KUBE-PROXY-FIREWALL", "KUBE-FORWARD", "KUBE-SERVICES", "KUBE-EXTERNAL-SERVICES"],
        ("filter", "OUTPUT"): ["KUBE-FIREWALL", "KUBE-PROXY-FIREWALL", "KUBE-SERVICES"],
        ("nat", "PREROUTING"): ["KUBE-SERVICES"],
        ("nat", "OUTPUT"): ["KUBE-SERVICES"],
        ("nat", "POSTROUTING"): ["KUBE-POSTROUTING"],
    }


def test_one_endpoint_less_is_a_restore_of_what_changed() -> None:
    less = replace(WEB, ports=(replace(WEB.ports[0], endpoints=(HERE,)),))
    old, new = items(WEB), items(less)
    changed = {item: body for item, body in new.items() if old.get(item) != body}
    (command,) = iptables.commands({item: body for item, body in old.items() if new.get(item) != body}, changed, NODE)
    assert command.argv == ("iptables-restore", "--noflush", "--wait")
    assert command.text.splitlines() == [
        "*nat",
        f":KUBE-SVC-{HASH} - [0:0]",
        f":{SEP_THERE} - [0:0]",
        *(f"-A KUBE-SVC-{HASH} {rule}" for rule in chain(new, f"KUBE-SVC-{HASH}")),
        f"-X {SEP_THERE}",
        "COMMIT",
    ]
    assert iptables.commands({}, {}, NODE) == ()


def _order(found: Items) -> dict[tuple[str, str], list[str]]:
    """The jumps of each built-in chain, in the order in which they are told."""
    order: dict[tuple[str, str], list[str]] = {}
    for _, table, builtin, rule, place in (item for item in found if item[0] == "jump"):
        assert place == "first"
        order.setdefault((table, builtin), []).append(rule)
    return order
