"""ipvs mode against what the kube-proxy 1.20.2 of Debian wrote for the same Services, and its rules by hand."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from nslab.proxy import ipvs
from nslab.proxy.ipsets import SETS
from nslab.proxy.mode import whole
from nslab.proxy.model import Endpoint, Port, Proxy, ServiceInfo
from nslab.proxy.sync import Sync
from nslab.ruletext.ipvsadm import expired, ipvsadm_lines, retire
from tests.unit.proxy.cases import CASES, REAL, WORKER, case

if TYPE_CHECKING:
    from nslab.ruletext.items import Items

NODE = replace(WORKER, mode="ipvs")
HERE, THERE = Endpoint("20.111.156.7", 8080, "worker-node1"), Endpoint("20.109.131.3", 8080, "worker-node2")
WEB = ServiceInfo("default", "web", "10.96.0.1", (Port("http", 80, "TCP", 0, (HERE, THERE)),))

CUT_SHORT = {"session-affinity", "unnamed-port"}
"""Cases whose dumps of rules were made before kube-proxy had written any: even KUBE-POSTROUTING is empty there."""
NOT_YET = {"session-affinity": {("KUBE-CLUSTER-IP", "10.109.97.78,tcp:8080")}}
"""Members that it had not added by then."""
SINCE_1_20 = {"KUBE-HEALTH-CHECK-NODE-PORT", "KUBE-IPVS-IPS"}
"""Sets that 1.20 did not have: 1.21 let health checks in by a set, 1.26 keeps strangers off the node's own ports."""


def rules(items: Items, chain: str, table: str = "nat") -> tuple[str, ...]:
    return items["chain", table, chain]


# --- The real kube-proxy -----------------------------------------------------------------------------------------


def written(case: str, file: str) -> list[str]:
    lines = (REAL / "v1.20" / "ipvs" / case / file).read_text().splitlines()
    return [line for line in lines if line]


def test_there_are_eighteen_cases() -> None:
    assert len(CASES) == 18


@pytest.mark.parametrize("name", CASES)
def test_virtual_and_real_servers(name: str) -> None:
    items = whole(ipvs, case(name), NODE)
    # 1.20 made virtual servers on 127.0.0.1 for node ports, too; now only addresses that others can reach have them.
    theirs = [line for line in written(name, "ipvsadm-S") if " 127.0.0.1:" not in line]
    assert sorted(ipvsadm_lines({}, items)) == sorted(theirs)


@pytest.mark.parametrize("name", CASES)
def test_addresses_of_kube_ipvs0(name: str) -> None:
    items = whole(ipvs, case(name), NODE)
    addresses = [item[2] for item in items if item[:2] == ("address", "kube-ipvs0")]
    assert sorted(addresses) == sorted(written(name, "kube-ipvs0"))


@pytest.mark.parametrize("name", CASES)
def test_sets_and_their_members(name: str) -> None:
    items = whole(ipvs, case(name), NODE)
    made = {(item[1], body[0]) for item, body in items.items() if item[0] == "ipset" and item[1] not in SINCE_1_20}
    added = {item[1:] for item in items if item[0] == "member" and item[1] not in SINCE_1_20}
    saved = [line.split() for line in written(name, "ipset-save")]
    assert made == {(words[1], words[2]) for words in saved if words[0] == "create"}
    assert added - NOT_YET.get(name, set()) == {(words[1], words[2]) for words in saved if words[0] == "add"}
    own = {item[2] for item in items if item[:2] == ("member", "KUBE-IPVS-IPS")}
    assert {f"{ip}/32" for ip in own} == {item[2] for item in items if item[0] == "address"}


SAME_CHAINS = ("KUBE-MARK-MASQ", "KUBE-NODE-PORT", "KUBE-POSTROUTING")
"""Of table nat, those that have not changed since."""


@pytest.mark.parametrize("name", CASES)
def test_rules_of_the_table_nat(name: str) -> None:
    items = whole(ipvs, case(name), NODE)
    nat = "\n".join(written(name, "iptables-save")).partition("*nat")[2].partition("COMMIT")[0]
    ours = (*SAME_CHAINS, "KUBE-SERVICES")
    theirs = {chain: tuple(re.findall(rf"^-A {chain} (.*)$", nat, re.MULTILINE)) for chain in ours}
    if name in CUT_SHORT:
        assert not any(theirs.values())
        return
    assert {chain: rules(items, chain) for chain in SAME_CHAINS} == {chain: theirs[chain] for chain in SAME_CHAINS}
    first, *others = rules(items, "KUBE-SERVICES")
    assert first == "-s 127.0.0.0/8 -j RETURN"  # since 1.26
    assert tuple(others) == theirs["KUBE-SERVICES"]


# --- By hand -----------------------------------------------------------------------------------------------------


def shown(*services: ServiceInfo, proxy: Proxy = NODE) -> list[str]:
    """What is left to say of Services when the frame is there."""
    return [*ipvsadm_lines({}, whole(ipvs, services, proxy))]


def test_a_service_is_a_virtual_server_with_its_endpoints() -> None:
    assert shown(WEB) == [
        "-A -t 10.96.0.1:80 -s rr",
        "-a -t 10.96.0.1:80 -r 20.111.156.7:8080 -m -w 1",
        "-a -t 10.96.0.1:80 -r 20.109.131.3:8080 -m -w 1",
    ]


@pytest.mark.parametrize(
    ("protocol", "line"),
    [("TCP", "-A -t 10.96.0.1:80"), ("UDP", "-A -u 10.96.0.1:80"), ("SCTP", "-A --sctp-service 10.96.0.1:80")],
)
def test_protocols(protocol: str, line: str) -> None:
    assert shown(replace(WEB, ports=(Port("", 80, protocol),))) == [f"{line} -s rr"]


@pytest.mark.parametrize(
    ("scheduler", "affinity", "line"),
    [
        ("wrr", 0, "-s wrr"),
        ("lc", 10800, "-s lc -p 10800"),
        ("sh", 60, "-s sh -p 60"),
        ("mh", 0, "-s mh -b mh-port"),
        ("mh", 60, "-s mh -p 60 -b mh-port"),
    ],
)
def test_schedulers_and_affinity(scheduler: str, affinity: int, line: str) -> None:
    service = replace(WEB, affinity=affinity, ports=(Port("", 80),))
    assert shown(service, proxy=replace(NODE, scheduler=scheduler)) == [f"-A -t 10.96.0.1:80 {line}"]


def test_node_ports_are_virtual_servers_on_each_address_of_the_node_but_loopback() -> None:
    proxy = replace(NODE, addresses=("192.168.59.21", "20.111.156.0", "127.0.0.1"))
    service = replace(WEB, type="NodePort", ports=(Port("", 80, "TCP", 31080),))
    assert shown(service, proxy=proxy)[1:] == [
        "-A -t 192.168.59.21:31080 -s rr",
        "-A -t 20.111.156.0:31080 -s rr",
    ]
    for wanted in ("192.168.59.0/24", "primary"):
        assert shown(service, proxy=replace(proxy, node_port_addresses=(wanted,)))[1:] == [
            "-A -t 192.168.59.21:31080 -s rr"
        ]


def test_policy_local_takes_what_is_near_and_all_where_nothing_is() -> None:
    service = replace(WEB, external_ips=("203.0.113.1",), external_local=True)
    assert shown(service)[3:] == [
        "-a -t 10.96.0.1:80 -r 20.109.131.3:8080 -m -w 1",
        "-a -t 203.0.113.1:80 -r 20.111.156.7:8080 -m -w 1",
    ]
    far = replace(service, ports=(replace(WEB.ports[0], endpoints=(THERE,)),))
    assert shown(far)[2:] == [
        "-a -t 10.96.0.1:80 -r 20.109.131.3:8080 -m -w 1",
        "-a -t 203.0.113.1:80 -r 20.109.131.3:8080 -m -w 1",
    ]


def test_headless_services_and_names_for_something_else_are_nothing_to_it() -> None:
    assert ipvs.part(replace(WEB, cluster_ip=""), NODE) == ({}, {})


def test_an_address_that_the_node_has_is_not_given_to_kube_ipvs0() -> None:
    service = replace(WEB, external_ips=("192.168.59.21", "203.0.113.1"))
    addresses = [item[2] for item in whole(ipvs, [service], NODE) if item[0] == "address"]
    assert addresses == ["10.96.0.1/32", "203.0.113.1/32"]


def test_without_services_only_rules_for_no_set_in_particular() -> None:
    items = whole(ipvs, [], NODE)
    assert rules(items, "KUBE-SERVICES") == (
        "-s 127.0.0.0/8 -j RETURN",
        "-m addrtype --dst-type LOCAL -j KUBE-NODE-PORT",
    )
    assert rules(items, "KUBE-NODE-PORT") == ()
    assert rules(items, "KUBE-POSTROUTING")[0] == "-m mark ! --mark 0x4000/0x4000 -j RETURN"
    assert rules(items, "KUBE-IPVS-OUT-FILTER", "filter") == ()
    assert rules(items, "KUBE-SOURCE-RANGES-FIREWALL", "filter") == ("-j DROP",)
    # These are written for empty sets, too: KUBE-IPVS-FILTER names them all.
    assert len(rules(items, "KUBE-IPVS-FILTER", "filter")) == 6
    assert {item[1] for item in items if item[0] == "ipset"} == set(SETS)


@pytest.mark.parametrize(
    ("proxy", "rule"),
    [
        (NODE, "! -s 20.96.0.0/12 {about} dst,dst -j KUBE-MARK-MASQ"),
        (replace(NODE, masquerade_all=True), "{about} dst,dst -j KUBE-MARK-MASQ"),
        (replace(NODE, cluster_cidr=""), "{about} src,dst -j KUBE-MARK-MASQ"),
    ],
)
def test_whom_to_masquerade_on_the_way_to_a_cluster_ip(proxy: Proxy, rule: str) -> None:
    about = (
        '-m comment --comment "Kubernetes service cluster ip + port for masquerade purpose" '
        "-m set --match-set KUBE-CLUSTER-IP"
    )
    assert rules(whole(ipvs, [WEB], proxy), "KUBE-SERVICES")[1] == rule.format(about=about)


BALANCED = replace(
    WEB,
    type="LoadBalancer",
    load_balancer_ips=("203.0.113.9",),
    source_ranges=("198.51.100.7/24", "192.0.2.1/32"),
    external_local=True,
    health_check_node_port=32000,
    ports=(Port("http", 80, "TCP", 31080, (HERE, THERE)),),
)


def members(*services: ServiceInfo, proxy: Proxy = NODE) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for item in whole(ipvs, services, proxy):
        if item[0] == "member":
            found.setdefault(item[1], []).append(item[2])
    return found


def test_source_ranges() -> None:
    items = whole(ipvs, [BALANCED], NODE)
    found = members(BALANCED)
    assert found["KUBE-LOAD-BALANCER-FW"] == ["203.0.113.9,tcp:80"]
    # As `ipset save` has them: masked, and a single address without its length.
    assert found["KUBE-LOAD-BALANCER-SOURCE-CIDR"] == [
        "203.0.113.9,tcp:80,198.51.100.0/24",
        "203.0.113.9,tcp:80,192.0.2.1",
    ]
    assert "KUBE-LOAD-BALANCER-SOURCE-IP" not in found
    (firewall,) = rules(items, "KUBE-PROXY-FIREWALL", "filter")
    assert firewall.endswith("--match-set KUBE-LOAD-BALANCER-FW dst,dst -j KUBE-SOURCE-RANGES-FIREWALL")
    assert [rule.split()[-1] for rule in rules(items, "KUBE-SOURCE-RANGES-FIREWALL", "filter")] == ["RETURN", "DROP"]
    # The node is in none of the ranges.
    assert rules(items, "KUBE-IPVS-OUT-FILTER", "filter") == (
        "-s 203.0.113.9/32 -m ipvs --vproto 6 --vaddr 203.0.113.9 --vport 80 -j DROP",
    )


def test_a_node_within_the_source_ranges_may_ask() -> None:
    service = replace(BALANCED, source_ranges=("192.168.59.0/24",))
    assert members(service)["KUBE-LOAD-BALANCER-SOURCE-IP"] == ["203.0.113.9,tcp:80,203.0.113.9"]
    items = whole(ipvs, [service], NODE)
    assert rules(items, "KUBE-IPVS-OUT-FILTER", "filter") == ()
    firewall = rules(items, "KUBE-SOURCE-RANGES-FIREWALL", "filter")
    assert [rule.split()[-1] for rule in firewall] == ["RETURN", "RETURN", "DROP"]


def test_everybody_is_two_halves() -> None:
    found = members(replace(BALANCED, source_ranges=("0.0.0.0/0",)))
    assert found["KUBE-LOAD-BALANCER-SOURCE-CIDR"] == ["203.0.113.9,tcp:80,0.0.0.0/1", "203.0.113.9,tcp:80,128.0.0.0/1"]


def test_policy_local_is_not_masqueraded() -> None:
    found, items = members(BALANCED), whole(ipvs, [BALANCED], NODE)
    assert found["KUBE-LOAD-BALANCER-LOCAL"] == found["KUBE-LOAD-BALANCER"] == ["203.0.113.9,tcp:80"]
    assert found["KUBE-NODE-PORT-LOCAL-TCP"] == found["KUBE-NODE-PORT-TCP"] == ["31080"]
    assert found["KUBE-HEALTH-CHECK-NODE-PORT"] == ["32000"]
    assert [rule.split()[-1] for rule in rules(items, "KUBE-LOAD-BALANCER")] == ["RETURN", "KUBE-MARK-MASQ"]
    assert [rule.split()[-1] for rule in rules(items, "KUBE-NODE-PORT")] == ["RETURN", "KUBE-MARK-MASQ"]


def test_external_addresses() -> None:
    about = (
        '-m comment --comment "Kubernetes service external ip + port {}" -m set --match-set KUBE-EXTERNAL-IP{} dst,dst '
    )
    accepted = ("-m physdev ! --physdev-is-in -m addrtype ! --src-type LOCAL", "-m addrtype --dst-type LOCAL")
    for local, words in ((False, "for masquerade and filter purpose"), (True, "with externalTrafficPolicy=local")):
        service = replace(WEB, external_ips=("203.0.113.1",), external_local=local)
        begin = about.format(words, "-LOCAL" if local else "")
        marked = () if local else (f"{begin}-j KUBE-MARK-MASQ",)
        found = rules(whole(ipvs, [service], NODE), "KUBE-SERVICES")
        assert tuple(rule for rule in found if "EXTERNAL" in rule) == (
            *marked,
            *(f"{begin}{match} -j ACCEPT" for match in accepted),
        )


def test_sctp_node_ports_are_kept_with_their_address() -> None:
    service = replace(WEB, ports=(Port("", 80, "SCTP", 31080),), external_local=True)
    found = members(service)
    assert found["KUBE-NODE-PORT-SCTP-HASH"] == found["KUBE-NODE-PORT-LOCAL-SCTP-HASH"] == ["192.168.59.21,sctp:31080"]
    first, second = rules(whole(ipvs, [service], NODE), "KUBE-NODE-PORT")
    assert first.endswith(
        r"with type \'hash ip:port\'" + '" -m set --match-set KUBE-NODE-PORT-LOCAL-SCTP-HASH dst,dst -j RETURN'
    )
    assert second.endswith("-m set --match-set KUBE-NODE-PORT-SCTP-HASH dst,dst -j KUBE-MARK-MASQ")


def test_settings() -> None:
    paths = {
        item[1]: body[0]
        for item, body in whole(ipvs, [], replace(NODE, strict_arp=True)).items()
        if item[0] == "sysctl"
    }
    assert paths == {
        "net/ipv4/vs/conntrack": "1",
        "net/ipv4/vs/expire_nodest_conn": "1",
        "net/ipv4/vs/expire_quiescent_template": "1",
        "net/ipv4/ip_forward": "1",
        "net/ipv4/conf/all/arp_ignore": "1",
        "net/ipv4/conf/all/arp_announce": "2",
    }
    assert len([item for item in whole(ipvs, [], NODE) if item[0] == "sysctl"]) == 4


# --- Changes -----------------------------------------------------------------------------------------------------


def programs(old: Items, new: Items) -> list[str]:
    return [command.argv[0] for command in ipvs.commands(old, new, NODE)]


def test_what_is_named_is_there_first_and_goes_last() -> None:
    items = whole(ipvs, [WEB], NODE)
    assert programs({}, items) == ["sysctl", "ipset", "iptables-restore", "ipvsadm", "ip"]
    assert programs(items, {}) == ["sysctl", "iptables-restore", "ip", "ipvsadm", "ipset"]


def test_another_endpoint_is_one_line_for_ipvs() -> None:
    sync = Sync(ipvs, NODE)
    sync.change({WEB.key: WEB})
    fewer = replace(WEB, ports=(replace(WEB.ports[0], endpoints=(HERE,)),))
    (command,) = ipvs.commands(*sync.change({WEB.key: fewer}), NODE)
    assert command == (("ipvsadm", "-R"), "-d -t 10.96.0.1:80 -r 20.109.131.3:8080\n")
    (command,) = ipvs.commands(*sync.change({WEB.key: WEB}), NODE)
    assert command.text == "-a -t 10.96.0.1:80 -r 20.109.131.3:8080 -m -w 1\n"


def test_the_last_member_takes_its_rule_along() -> None:
    sync = Sync(ipvs, NODE)
    sync.change({WEB.key: WEB})
    far = replace(WEB, ports=(replace(WEB.ports[0], endpoints=(THERE,)),))
    restore, _, ipset = ipvs.commands(*sync.change({WEB.key: far}), NODE)
    assert ":KUBE-POSTROUTING - [0:0]" in restore.text
    assert "KUBE-LOOP-BACK" not in restore.text
    assert ipset.text == "del KUBE-LOOP-BACK 20.111.156.7,tcp:8080,20.111.156.7\n"


def test_a_service_that_goes_takes_its_real_servers_along() -> None:
    sync = Sync(ipvs, NODE)
    sync.change({WEB.key: WEB})
    commands = ipvs.commands(*sync.change({WEB.key: None}), NODE)
    assert [command.text for command in commands if command.argv[0] in ("ip", "ipvsadm")] == [
        "address del 10.96.0.1/32 dev kube-ipvs0\n",
        "-D -t 10.96.0.1:80\n",
    ]


def test_settings_of_a_virtual_server_are_changed_in_place() -> None:
    sync = Sync(ipvs, NODE)
    sync.change({WEB.key: WEB})
    (command,) = ipvs.commands(*sync.change({WEB.key: replace(WEB, affinity=60)}), NODE)
    assert command.text == "-E -t 10.96.0.1:80 -s rr -p 60\n"


GONE = ("real", "tcp", "10.96.0.1:80", "20.109.131.3:8080")
LISTED = """\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  10.96.0.1:80 rr
  -> 20.109.131.3:8080            Masq    0      {active}          {inactive}
  -> 20.111.156.7:8080            Masq    1      3          1
UDP  10.96.0.1:80 rr
  -> 20.109.131.3:8080            Masq    1      0          5
"""


def test_a_real_server_of_tcp_is_retired_until_nobody_talks_to_it() -> None:
    sync = Sync(ipvs, NODE)
    sync.change({WEB.key: WEB})
    fewer = replace(WEB, ports=(replace(WEB.ports[0], endpoints=(HERE,)),))
    old, new = sync.change({WEB.key: fewer})
    kept = retire(old, new)
    assert kept == {GONE: ("0",)}
    (command,) = ipvs.commands(old, {**new, **kept}, NODE)
    assert command.text == "-e -t 10.96.0.1:80 -r 20.109.131.3:8080 -m -w 0\n"
    assert expired(LISTED.format(active=1, inactive=0), kept) == {}
    assert expired(LISTED.format(active=0, inactive=1), kept) == {}
    gone = expired(LISTED.format(active=0, inactive=0), kept)
    (command,) = ipvs.commands(gone, {}, NODE)
    assert command.text == "-d -t 10.96.0.1:80 -r 20.109.131.3:8080\n"
    assert expired("", kept) == kept, "and one that somebody else took away is gone, too"


def test_it_comes_back_in_the_meantime() -> None:
    (command,) = ipvs.commands({GONE: ("0",)}, {GONE: ("1",)}, NODE)
    assert command.text == "-e -t 10.96.0.1:80 -r 20.109.131.3:8080 -m -w 1\n"


def test_nobody_is_retired_without_need() -> None:
    udp = replace(WEB, ports=(replace(WEB.ports[0], protocol="UDP"),))
    for service in (udp, replace(udp, ports=(replace(udp.ports[0], protocol="SCTP"),))):
        items = whole(ipvs, [service], NODE)
        fewer = {item: body for item, body in items.items() if "20.109.131.3:8080" not in item}
        assert retire(items, fewer) == {}
    assert retire(whole(ipvs, [WEB], NODE), whole(ipvs, [], NODE)) == {}, "with its virtual server it goes"
