"""nftables mode against the rules that upstream's own test expects, and the text of one change after another."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, os.path.dirname(__file__))

from cases import REAL, overall, services

from nslab.proxy import nftables
from nslab.proxy.mode import whole
from nslab.proxy.model import Endpoint, Port, Proxy, ServiceInfo
from nslab.proxy.names import nft_name
from nslab.ruletext.nft import nft_narrows

if TYPE_CHECKING:
    from pathlib import Path

    from nslab.ruletext.items import Items

CASES = sorted((REAL / "cases").glob("*.yaml"))
NODE = Proxy("test-node", ("192.168.0.2",), "nftables", cluster_cidr="10.0.0.0/8", service_cidr="172.30.0.0/16")
MASTER, WORKER = (
    Proxy(name, (ip,), "nftables", cluster_cidr="20.96.0.0/12") for name, ip in (("a", "10.1.0.1"), ("b", "10.1.0.2"))
)
ENDS = (Endpoint("10.180.0.1", 8080, "test-node"), Endpoint("10.180.0.2", 8080, "other"))
WEB = ServiceInfo("default", "web", "172.30.0.1", (Port("http", 80, "TCP", 30080, ENDS),))


def written(text: str) -> dict[str, object]:
    """A text for nft as what it makes: declarations and elements as they stand, rules by chain in their order."""
    made: dict[str, object] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        match line.split(maxsplit=5):
            case ["#", *_]:
                continue
            case ["add", "rule", "ip", "kube-proxy", chain, rule]:
                rules = made.setdefault(f"rules of {chain}", [])
                assert isinstance(rules, list)
                rules.append(rule)
            case ["add", _, "ip", "kube-proxy", *_]:
                assert line not in made, f"{line} stands twice"
                made[line] = True
            case ["flush", *_]:
                continue
            case _:
                raise AssertionError(line)
    return made


def fresh(items: Items) -> str:
    """The text of a first sync."""
    (command,) = nftables.commands({}, items, NODE)
    assert command.argv == ("nft", "-f", "-")
    return command.text


def change(old: ServiceInfo, new: ServiceInfo, proxy: Proxy = NODE) -> list[str]:
    """The lines of the change from one state of a Service to another."""
    output = nftables.commands(nftables.part(old, proxy).own, nftables.part(new, proxy).own, proxy)
    return [line for command in output for line in command.text.splitlines()]


def with_ends(service: ServiceInfo, *ends: Endpoint) -> ServiceInfo:
    return replace(service, ports=(replace(service.ports[0], endpoints=ends),))


def test_the_rules_are_those_of_upstream() -> None:
    ours = written(fresh(whole(nftables, overall(), NODE)))
    assert ours == written((REAL / "current" / "overall.nft").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
@pytest.mark.parametrize("proxy", [MASTER, WORKER, replace(WORKER, cluster_cidr=""), replace(WORKER, zone="z")])
def test_every_chain_and_set_that_is_named_is_there(case: Path, proxy: Proxy) -> None:
    assert unknown(whole(nftables, services(case.read_text()), proxy)) == []


def unknown(items: Items) -> list[str]:
    """What rules and elements name and nobody declares; a chain that comes later counts as unknown, too."""
    missing: list[str] = []
    chains: set[str] = set()
    for item, body in items.items():
        output = " ".join(body[1:])
        if item[0] == "nft-chain":
            missing += [name for name in re.findall(r"(?:jump|goto) (\S+)", output) if name not in chains]
            chains.add(item[2])
        for name in re.findall(r"@(\S+)", output) + ([item[2]] if item[0] == "nft-element" else []):
            if not {("nft-set", item[1], name), ("nft-map", item[1], name)} & items.keys():
                missing.append(name)
    verdicts = {body[1] for item, body in items.items() if item[0] == "nft-element"}
    return missing + [to for to in verdicts - {"", "drop"} if to.removeprefix("goto ") not in chains]


def test_names_as_upstream_makes_them() -> None:
    service = ServiceInfo("ns1", "svc1", "172.30.0.41", (Port("p80", 80, endpoints=(Endpoint("10.180.0.1", 80),)),))
    chains = [item[2] for item in nftables.part(service, NODE).own if item[0] == "nft-chain"]
    assert chains == ["endpoint-5OJB2KTY-ns1/svc1/tcp/p80__10.180.0.1/80", "service-ULMVA6XW-ns1/svc1/tcp/p80"]


def test_a_name_is_cut_to_what_the_kernel_takes() -> None:
    service = replace(WEB, namespace="n" * 63, name="s" * 63, ports=(replace(WEB.ports[0], name="p" * 120),))
    names = [item[2] for item in nftables.part(service, NODE).own if item[0] == "nft-chain"]
    assert max(len(name) for name in names) <= 255
    assert len(set(names)) == 4
    assert all(name.endswith("...") for name in names)


def test_a_headless_service_has_nothing() -> None:
    assert nftables.part(replace(WEB, cluster_ip=""), NODE).own == {}


def test_local_to_both_sides_still_short_circuits_to_all_endpoints() -> None:
    items = whole(nftables, [replace(WEB, external_local=True, internal_local=True)], NODE)
    assert unknown(items) == []


def rules(items: Items, start: str) -> list[str]:
    (name,) = (item for item in items if item[0] == "nft-chain" and item[2].startswith(start))
    return list(items[name][1:])


def test_masquerade_all_and_no_detector() -> None:
    def first(proxy: Proxy) -> str:
        return rules(nftables.part(WEB, proxy).own, "service-")[0]

    assert first(replace(NODE, masquerade_all=True)) == "ip daddr 172.30.0.1 jump mark-for-masquerade"
    assert first(replace(NODE, cluster_cidr="")).startswith("numgen random mod 2 vmap {")


def test_the_load_balancers_own_address_passes_where_a_range_has_the_node() -> None:
    service = replace(WEB, load_balancer_ips=("203.0.113.9",), source_ranges=("192.168.0.0/24", "10.9.0.0/16"))
    assert rules(nftables.part(service, NODE).own, "firewall-") == [
        "ip saddr != { 192.168.0.0/24 , 10.9.0.0/16 , 203.0.113.9 } drop"
    ]


@pytest.mark.parametrize(
    ("output", "answers"),
    [
        ((), ["192.168.0.2"]),
        (("primary",), ["192.168.0.2"]),
        (("10.5.0.0/16",), ["10.5.0.1"]),
        (("172.16.0.0/12",), []),
    ],
)
def test_node_ports_answer_on(output: tuple[str, ...], answers: list[str]) -> None:
    proxy = replace(NODE, addresses=("192.168.0.2", "10.5.0.1"), node_port_addresses=output)
    elements = [item for item in nftables.frame((), proxy) if item[0] == "nft-element"]
    assert [item[3] for item in elements if item[2] == "nodeport-ips"] == answers


def test_node_ports_on_all_addresses_need_no_set_of_them() -> None:
    items = nftables.frame((), replace(NODE, node_port_addresses=("0.0.0.0/0",)))
    assert not [item for item in items if "nodeport-ips" in item]
    assert rules(items, "services")[1] == (
        "fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @service-nodeports"
    )


def test_one_endpoint_for_another() -> None:
    lines = change(WEB, with_ends(WEB, ENDS[0], Endpoint("10.180.0.3", 8080)))
    (old,) = (line.split()[-1] for line in lines if line.startswith("delete chain"))
    (new,) = (line.split()[-1] for line in lines if line.startswith("add chain"))
    service = next(line.split()[-1] for line in lines if line.startswith("flush chain ip kube-proxy service-"))
    kept = f"endpoint-{nft_name('default/web/tcp/http__10.180.0.1/8080')}"
    assert lines == [
        f"flush chain ip kube-proxy {old}",
        f"flush chain ip kube-proxy {service}",
        f"delete chain ip kube-proxy {old}",
        f"add chain ip kube-proxy {new}",
        f"flush chain ip kube-proxy {new}",
        f"add rule ip kube-proxy {new} ip saddr 10.180.0.3 jump mark-for-masquerade",
        f"add rule ip kube-proxy {new} meta l4proto tcp dnat to 10.180.0.3:8080",
        f"add rule ip kube-proxy {service} ip daddr 172.30.0.1 ip saddr != 10.0.0.0/8 jump mark-for-masquerade",
        f"add rule ip kube-proxy {service} numgen random mod 2 vmap {{ 0 : goto {kept} , 1 : goto {new} }}",
        "list map ip kube-proxy firewall-ips",
    ]


def test_the_last_endpoint_goes() -> None:
    lines = change(WEB, with_ends(WEB))
    nobody = 'comment "default/web:http" : goto reject-chain }'
    assert [line for line in lines if " element " in line] == [
        "delete element ip kube-proxy service-ips { 172.30.0.1 . tcp . 80 }",
        "delete element ip kube-proxy service-nodeports { tcp . 30080 }",
        f"add element ip kube-proxy no-endpoint-services {{ 172.30.0.1 . tcp . 80 {nobody}",
        f"add element ip kube-proxy no-endpoint-nodeports {{ tcp . 30080 {nobody}",
    ]
    # nft is told of the sets that are named, since the listing at the end keeps it from reading all.
    declared = [line.split()[4] for line in lines if line.split()[1] in ("set", "map") and line.startswith("add")]
    assert declared == ["no-endpoint-nodeports", "no-endpoint-services", "service-ips", "service-nodeports"]
    assert lines[-1] == "list map ip kube-proxy firewall-ips"


def test_an_nft_that_narrows_what_it_reads_is_told_of_a_chain_as_well() -> None:
    old, new = (whole(nftables, [service], NODE) for service in (WEB, with_ends(WEB, ENDS[0])))
    plain = nftables.commands(old, new, NODE)[0].text.splitlines()
    shown = nftables.commands(old, new, replace(NODE, nft_narrows=True))[0].text.splitlines()
    assert shown == [*plain[:-1], "list chain ip kube-proxy reject-chain", plain[-1]]


@pytest.mark.parametrize(
    ("version", "does"),
    [
        ("nftables v1.0.5 (Lester Gooch #4)", False),
        ("nftables v1.0.6 (Lester Gooch #5)", True),
        ("nftables v1.1.0 (Commodore Bullmoose)", True),
        ("nftables v1.1.1 (Commodore Bullmoose #2)", False),
        ("", False),
    ],
)
def test_which_nft_goes_by_all_listings(version: str, does: bool) -> None:
    assert nft_narrows(version) is does


def test_sets_of_affinity_come_before_and_go_after_what_names_them() -> None:
    sticky = replace(WEB, affinity=60)
    lines = change(sticky, with_ends(sticky, ENDS[0], Endpoint("10.180.0.3", 8080)))
    kinds = [" ".join(line.split()[:2]) for line in lines]
    assert kinds.index("add set") < kinds.index("add rule")
    assert kinds.index("delete set") > kinds.index("delete chain") > kinds.index("flush chain")
    # A set that stays is named and not declared anew: nft has to read all of them.
    assert not lines[-1].startswith("list")


def test_another_time_out_is_said_to_the_set_that_is_there() -> None:
    assert change(replace(WEB, affinity=60), replace(WEB, affinity=90)) == [
        f"add set ip kube-proxy affinity-{nft_name(f'default/web/tcp/http__{end.ip}/8080')} "
        "{ type ipv4_addr ; flags dynamic,timeout ; timeout 90s ; }"
        for end in ENDS
    ] + ["list map ip kube-proxy firewall-ips"]


def test_a_first_sync_keeps_who_is_bound_to_whom() -> None:
    text = fresh(whole(nftables, [replace(WEB, affinity=60)], NODE))
    assert "flush table ip kube-proxy\n" in text
    assert "delete" not in text
    flushed = re.findall(r"flush (?:set|map) ip kube-proxy (\S+)", text)
    assert "cluster-ips" in flushed
    assert not [name for name in flushed if name.startswith("affinity-")]


def test_everything_goes_with_its_table() -> None:
    (command,) = nftables.commands(whole(nftables, [WEB], NODE), {}, NODE)
    assert command.text == "add table ip kube-proxy\ndelete table ip kube-proxy\n"


def test_nothing_to_do_is_no_command() -> None:
    items = whole(nftables, [WEB], NODE)
    assert nftables.commands(items, dict(items), NODE) == ()
