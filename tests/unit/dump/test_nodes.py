"""A packet's way through dumped nodes: who wrote their rules does not matter."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

# Tests are imported by their path (importlib), so what they share must be on the path itself.
sys.path.insert(0, os.path.dirname(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(__file__)), "rules"))

import test_shapes as shapes
from nodes import dumped, link, route

from nslab.app.dumps import trace_dumps
from nslab.errors import UsageError
from nslab.probes.probe import Kind
from nslab.trace.hops import Action, End, Journey

if TYPE_CHECKING:
    from nslab.trace.dump.host import DumpedHost

DATA = Path(__file__).parents[2] / "data" / "kube-proxy"
WORKER = {"eth0": ["192.168.59.21/24"], "tunl0": ["20.96.0.0/32"]}
WORKER_LINKS = [link("eth0"), link("tunl0", kind="ipip"), link("cali1", kind="veth"), link("kube-ipvs0", kind="dummy")]
WORKER_ROUTES = [
    route("default", "eth0", gateway="192.168.59.1"),
    route("20.96.0.9", "cali1", scope="link"),
    route("20.111.156.128/26", "tunl0", gateway="192.168.59.22", protocol="bird", flags=["onlink"]),
    route("20.109.131.128/26", "tunl0", gateway="192.168.59.23", protocol="bird", flags=["onlink"]),
]
NODE = {"eth0": ["192.0.2.1/24"], "docker0": ["172.17.0.1/16"]}
NODE_LINKS = [link("eth0"), link("docker0", kind="bridge")]
DEFAULT = [route("default", "eth0", gateway="192.0.2.254", protocol="static")]


def only(host: DumpedHost, sender: str, to: str, kind: Kind | None = None) -> Journey:
    (journey,) = trace_dumps([host], sender, to, kind)
    return journey


def worker(case: str, **more: Any) -> DumpedHost:
    """The node of tests/data/kube-proxy, where a kube-proxy in ipvs mode wrote a case."""
    there = DATA / "v1.20" / "ipvs" / case
    own = WORKER | {"kube-ipvs0": (there / "kube-ipvs0").read_text().split()}
    return dumped(
        "worker-node1", WORKER_LINKS, own, WORKER_ROUTES,
        iptables_save=(there / "iptables-save").read_text(), ipset_save=(there / "ipset-save").read_text(),
        ipvsadm_save=(there / "ipvsadm-S").read_text(), **more,
    )  # fmt: skip


def test_a_real_kube_proxy_in_ipvs_mode() -> None:
    """The virtual server at INPUT, its real ones with even chances, the tunnel; the mark of who calls a node port."""
    journeys = trace_dumps([worker("nodeport")], "20.96.0.9", "10.103.224.241:80")
    assert [journey.chance for journey in journeys] == [0.5, 0.5]
    for journey, server, node in zip(
        journeys, ("20.109.131.143", "20.111.156.128"), ("192.168.59.23", "192.168.59.22"), strict=True
    ):
        assert [hop.action for hop in journey.hops] == [
            Action.ENTER, Action.DNAT, Action.FORWARD, Action.ENCAPSULATE,
        ]  # fmt: skip
        translated, sent = journey.hops[1], journey.hops[-1]
        assert (translated.header.receiver, translated.by) == (f"{server}:8743", "IPVS")
        assert translated.cause == "IPVS 10.103.224.241:80 rr"
        assert sent.outer
        assert str(sent.outer.target) == node
        assert journey.why == f"leaves worker-node1 by eth0 towards {node}, of which there is no dump"
    (outside, _) = trace_dumps([worker("nodeport")], "192.168.59.9", "192.168.59.21:32161")
    assert [hop.action for hop in outside.hops][1:] == [
        Action.DNAT, Action.FORWARD, Action.SNAT, Action.ENCAPSULATE,
    ]  # fmt: skip
    assert str(outside.hops[3].header.source) == "20.96.0.0"
    from_node = trace_dumps([worker("nodeport")], "worker-node1", "10.103.224.241:80")
    assert {hop.action for journey in from_node for hop in journey.hops} >= {Action.SEND, Action.DNAT, Action.SNAT}


@pytest.mark.parametrize("path", sorted((DATA / "v1.20" / "ipvs").iterdir()), ids=lambda path: path.name)
def test_all_virtual_servers_of_a_real_kube_proxy(path: Path) -> None:
    host = worker(path.name)
    lines = (path / "ipvsadm-S").read_text().split("\n")
    for address, port in {line.split()[2].rpartition(":")[::2] for line in lines if line.startswith("-A -t")}:
        if address.startswith("127."):
            continue
        journeys = trace_dumps([host], "20.96.0.9", f"{address}:{port}")
        servers = [line for line in lines if line.startswith(f"-a -t {address}:{port} ")]
        assert len(journeys) == max(len(servers), 1)
        assert {note for journey in journeys for note in journey.notes} == set()


def test_a_real_kube_proxy_in_iptables_mode() -> None:
    saved = (DATA / "v1.20" / "iptables" / "nodeport" / "iptables-save").read_text()
    host = dumped("worker-node1", WORKER_LINKS, WORKER, WORKER_ROUTES, iptables_save=saved)
    journeys = trace_dumps([host], "20.96.0.9", "10.103.224.241:80")
    assert [journey.chance for journey in journeys] == [0.5, 0.5]
    assert {journey.target.service for journey in journeys} == {"default/pay-shop"}
    assert {journey.hops[1].by for journey in journeys} == {"kube-proxy"}
    assert journeys[0].hops[1].cause.startswith("nat PREROUTING > KUBE-SERVICES > KUBE-SVC-")


def test_the_current_kube_proxy_in_nftables_mode() -> None:
    listed = (DATA.parent / "rules" / "kube-proxy-overall.nft.json").read_text()
    host = dumped("test-node", [link("eth0")], {"eth0": ["192.168.0.2/24"]}, DEFAULT, **{"nft.json": listed})
    journey = only(host, "test-node", "172.30.0.41:80")
    assert (journey.target.service, journey.hops[1].by) == ("ns1/svc1", "kube-proxy")


def test_docker() -> None:
    host = dumped("host", NODE_LINKS, NODE, DEFAULT, iptables_save=shapes.DOCKER)
    published = only(host, "198.51.100.7", "192.0.2.1:8080")
    assert (published.hops[1].action, published.hops[1].by) == (Action.DNAT, "Docker")
    assert published.why == (
        "leaves host by docker0 towards 172.17.0.2, of which there is no dump; "
        "the reply leaves host by eth0 towards 192.0.2.254, of which there is no dump"
    )
    out = only(host, "172.17.0.2", "198.51.100.7:443")
    assert [hop.action for hop in out.hops] == [Action.ENTER, Action.FORWARD, Action.SNAT]
    assert str(out.hops[-1].header.source) == "192.0.2.1"


def test_ufw() -> None:
    host = dumped(
        "host", NODE_LINKS, NODE, DEFAULT, iptables_save=shapes.UFW, ss="tcp LISTEN 0 9 0.0.0.0:443 0.0.0.0:*\n"
    )
    assert only(host, "192.0.2.7", "host:443").end is End.LEFT
    dropped = only(host, "192.0.2.7", "192.0.2.1:23")
    assert (dropped.end, dropped.why) == (
        End.DROPPED,
        "host drops it by policy DROP of chain INPUT (table filter): policy DROP",
    )
    refused = only(host, "192.0.2.7", "192.0.2.1:80")
    assert (refused.end, refused.why) == (
        End.REFUSED,
        "host has the address 192.0.2.1, and nothing listens there on port 80",
    )


def test_k3s() -> None:
    own = {"eth0": ["192.0.2.1/24"], "cni0": ["10.0.1.1/24"], "flannel.1": ["10.0.1.0/32"]}
    vxlan = link("flannel.1", kind="vxlan", data={"id": 1, "port": 8472, "local": "192.0.2.1"}, mtu=1450)
    host = dumped(
        "server", [link("eth0"), link("cni0", kind="bridge"), vxlan], own,
        [*DEFAULT, route("10.0.2.0/24", "flannel.1", gateway="10.0.2.0", flags=["onlink"])],
        iptables_save=shapes.K3S, ipset_save=shapes.K3S_SETS,
        neigh=[{"dst": "10.0.2.0", "dev": "flannel.1", "lladdr": "aa:aa:aa:aa:aa:02", "state": ["PERMANENT"]}],
        fdb=[{"mac": "aa:aa:aa:aa:aa:02", "ifname": "flannel.1", "dst": "192.0.2.2", "flags": ["self"]}],
    )  # fmt: skip
    over = only(host, "10.0.1.2", "10.0.2.2:80")
    assert over.hops[-1].action is Action.ENCAPSULATE
    assert over.hops[-1].outer
    assert (str(over.hops[-1].outer.target), over.hops[-1].outer.ports, over.hops[-1].outer.length) == (
        "192.0.2.2",
        (0, 8472),
        110,
    )
    assert over.why == "leaves server by eth0 towards 192.0.2.2, of which there is no dump"
    denied = only(host, "server", "10.0.1.2:81")
    assert denied.end is End.LEFT


def test_firewalld_in_nft() -> None:
    where = {"family": "inet", "table": "firewalld"}
    objects: list[Any] = [{"table": {"family": "inet", "name": "firewalld"}}]
    objects.append({"set": {**where, "name": "trusted", "type": "ipv4_addr", "elem": ["203.0.113.5"]}})
    for name, own in shapes.FIREWALLD_RULES.items():
        hook = {"filter_INPUT": ("input", 10), "filter_PREROUTING": ("prerouting", 10)}.get(name)
        objects.append(
            {"chain": {**where, "name": name, **({"type": "filter", "hook": hook[0], "prio": hook[1]} if hook else {})}}
        )
        objects += [{"rule": {**where, "chain": name, "expr": expr}} for expr in own]
    host = dumped("host", NODE_LINKS, NODE, DEFAULT, **{"nft.json": json.dumps({"nftables": objects})})
    assert only(host, "192.0.2.7", "192.0.2.1:22").end is End.LEFT
    rejected = only(host, "192.0.2.7", "192.0.2.1:23")
    stopped, error = rejected.hops[-2:]
    assert (rejected.end, stopped.action, stopped.by) == (End.REJECTED, Action.REJECT, "firewalld")
    assert stopped.cause.startswith("inet firewalld filter_INPUT")
    assert stopped.command == "nft list chain inet firewalld filter_INPUT"
    assert (error.action, error.reply, str(error.header)) == (Action.SEND, True, "192.0.2.1 -> 192.0.2.7")


@pytest.mark.parametrize(
    ("rule", "doubt"),
    [
        ('-m u32 --u32 "0x0=0x1"', "u32"),
        ("-m bpf --object-pinned /sys/fs/bpf/x", "bpf"),
        ("-m string --string secret --algo bm", "string"),
        ("-p tcp -m time --timestart 08:00", "time"),
    ],
)
def test_what_is_not_understood_has_both_branches(rule: str, doubt: str) -> None:
    saved = f"*filter\n-A INPUT {rule} -j DROP\nCOMMIT\n"
    host = dumped("host", NODE_LINKS, NODE, DEFAULT, iptables_save=saved)
    journeys = trace_dumps([host], "192.0.2.7", "192.0.2.1:22")
    assert {journey.end for journey in journeys} == {End.DROPPED, End.LEFT}
    for journey in journeys:
        assert journey.chance is None
        assert journey.notes == (f"not understood: {doubt}",)


def test_a_target_that_nobody_knows() -> None:
    host = dumped(
        "host", NODE_LINKS, NODE, DEFAULT, iptables_save="*filter\n-A INPUT -p tcp -j WHATEVER --x 1\nCOMMIT\n"
    )
    journeys = trace_dumps([host], "192.0.2.7", "192.0.2.1:22")
    assert {journey.end for journey in journeys} == {End.UNKNOWN, End.LEFT}
    assert {journey.why for journey in journeys if journey.end is End.UNKNOWN} == {"host has target WHATEVER"}


def test_both_variants_of_iptables() -> None:
    """A rule in either counts; what both programs print is the same rules."""
    drop = "*filter\n-A INPUT -p tcp -m tcp --dport 22 -j DROP\nCOMMIT\n"
    other = "*filter\n-A INPUT -p tcp -m tcp --dport 23 -j DROP\nCOMMIT\n"
    both = dumped("host", NODE_LINKS, NODE, DEFAULT, iptables_save=drop, iptables_legacy_save=other)
    assert only(both, "192.0.2.7", "host:22").hops[-1].command == "iptables -t filter -S INPUT"
    assert only(both, "192.0.2.7", "host:23").hops[-1].command == "iptables-legacy -t filter -S INPUT"
    same = dumped(
        "host", NODE_LINKS, NODE, DEFAULT, iptables_version="iptables v1.8.7 (legacy)\n", iptables_save=drop,
        iptables_legacy_save="# again\n" + drop,
    )  # fmt: skip
    assert only(same, "192.0.2.7", "host:22").hops[-1].command == "iptables -t filter -S INPUT"


def test_settings_of_the_kernel() -> None:
    closed = dumped(
        "host", NODE_LINKS, NODE, DEFAULT, sysctl="net.ipv4.ip_forward = 0\nnet.ipv4.conf.all.rp_filter = 1\n"
    )
    assert only(closed, "172.17.0.2", "198.51.100.7:443").why.startswith(
        "host does not pass it on: it does not forward"
    )


def test_rp_filter() -> None:
    """The sender's way back leads to another interface than that at which its packet comes in."""
    rules = [
        {"priority": 0, "src": "all", "table": "local"},
        {"priority": 5, "src": "192.0.2.1", "table": "100"},
        {"priority": 9, "src": "all", "table": "main"},
    ]
    routes = [*DEFAULT, route("default", "docker0", table="100")]
    files: dict[str, Any] = {"rule": rules, "sysctl": "net.ipv4.ip_forward = 1\nnet.ipv4.conf.eth0.rp_filter = 1\n"}
    host = dumped("host", NODE_LINKS, NODE, routes, **files)
    journey = only(host, "192.0.2.7", "192.0.2.1:22")
    assert (journey.end, journey.why) == (
        End.LOST, "host does not pass it on: rp_filter=1 of eth0: the route to 192.0.2.7 leads to docker0",
    )  # fmt: skip


def test_policy_routing() -> None:
    """A mark, a table of its own, a source, a suppressed default, an unreachable rule; several next hops."""
    rules = [
        {"priority": 0, "src": "all", "table": "local"},
        {"priority": 10, "src": "all", "fwmark": "0x1", "fwmask": "0xff", "table": "100"},
        {"priority": 11, "src": "all", "table": "main", "suppress_prefixlen": 0},
        {"priority": 12, "src": "172.17.0.0", "srclen": 16, "table": "200"},
        {"priority": 20, "src": "all", "dst": "203.0.113.0", "dstlen": 24, "action": "unreachable"},
        {"priority": 32766, "src": "all", "table": "main"},
    ]
    routes = [
        *DEFAULT,
        route("default", "wg0", table="100"),
        {"dst": "default", "table": "200", "flags": [], "nexthops": [
            {"gateway": "192.0.2.3", "dev": "eth0", "weight": 3, "flags": []},
            {"gateway": "192.0.2.4", "dev": "eth0", "weight": 1, "flags": []}]},
        {"type": "blackhole", "dst": "198.18.0.0/15", "flags": []},
    ]  # fmt: skip
    saved = "*mangle\n-A OUTPUT -p udp -j MARK --set-xmark 0x1/0xffffffff\nCOMMIT\n"
    host = dumped("host", [*NODE_LINKS, link("wg0", kind="wireguard")], NODE, routes, rule=rules, iptables_save=saved)
    assert only(host, "host", "198.51.100.7:80").why.startswith("leaves host by eth0 towards 192.0.2.254,")
    assert only(host, "host", "198.51.100.7:53", Kind.UDP).why == (
        "leaves host by wg0 towards 198.51.100.7, into a tunnel (wireguard) that is not followed"
    )
    assert only(host, "host", "203.0.113.9:80").end is End.UNREACHABLE
    assert only(host, "host", "198.18.0.1:80").why == "host does not pass it on: a blackhole route drops it"
    several = trace_dumps([host], "172.17.0.2", "198.51.100.7:80")
    assert [(journey.chance, journey.why.split()[5].rstrip(",")) for journey in several] == [
        (0.75, "192.0.2.3"), (0.25, "192.0.2.4"),
    ]  # fmt: skip


def test_a_rule_of_routing_that_is_not_clear() -> None:
    rules = [
        {"priority": 0, "src": "all", "table": "local"},
        {"priority": 10, "src": "all", "uid_start": 0, "uid_end": 99, "table": "100"},
        {"priority": 32766, "src": "all", "table": "main"},
    ]
    host = dumped("host", NODE_LINKS, NODE, [*DEFAULT, route("default", "docker0", table="100")], rule=rules)
    journeys = trace_dumps([host], "host", "198.51.100.7:80")
    assert {journey.hops[-1].dev for journey in journeys} == {"eth0", "docker0"}
    assert {journey.notes for journey in journeys} == {("not understood: ip rule 10 (uid_end, uid_start)",)}
    same = dumped("host", NODE_LINKS, NODE, DEFAULT, rule=rules)
    assert only(same, "host", "198.51.100.7:80").notes == ()


def test_several_nodes_and_their_ends() -> None:
    one = dumped("a", [link("eth0")], {"eth0": ["192.0.2.1/24"]}, DEFAULT)
    other = dumped("b", [link("eth0")], {"eth0": ["192.0.2.2/24"]}, DEFAULT)
    (journey,) = trace_dumps([one, other], "a", "b:22")
    assert journey.end is End.DELIVERED
    assert [(hop.host, hop.action) for hop in journey.hops] == [
        ("a", Action.SEND), ("b", Action.RECEIVE), ("b", Action.SEND), ("a", Action.RECEIVE),
    ]  # fmt: skip
    assert trace_dumps([one, other], "192.0.2.9", "b", Kind.ICMP)[0].hops[0].host == "b"
    for sender, to, sentence in (
        ("a", "b", r"say to which port: b:PORT, or --icmp for an echo"),
        ("a", "[2001:db8::1]:80", r"IPv6"),
        ("2001:db8::1", "b:80", r"IPv6"),
        ("c", "b:80", r"c is no IPv4 address and no dumped host \(a, b\): give its address"),
        ("192.0.2.9", "198.51.100.7:80", r"where does a packet from 192.0.2.9 come in\? 2 of the dumped hosts"),
        ("198.51.100.9", "198.51.100.7:80", r"no dumped host has it on a link"),
    ):
        with pytest.raises(UsageError, match=sentence):
            trace_dumps([one, other], sender, to)


def test_many_journeys_are_the_first_ones() -> None:
    rule = '-A INPUT -m u32 --u32 "{}=0x1" -j MARK --set-xmark {}\n'
    saved = "*filter\n" + "".join(rule.format(bit, f"{1 << bit}/{1 << bit}") for bit in range(12)) + "COMMIT\n"
    host = dumped("host", NODE_LINKS, NODE, DEFAULT, iptables_save=saved)
    journeys = trace_dumps([host], "192.0.2.7", "192.0.2.1:22")
    assert len(journeys) == 1000
    assert "there are more journeys: these are the first 1000" in journeys[0].notes


def test_a_connection_that_is_there_already() -> None:
    line = "udp 17 25 src=172.17.0.2 dst=10.96.0.10 sport=5 dport=53 src=10.1.1.9 dst=172.17.0.2 sport=53 dport=5"
    host = dumped("host", NODE_LINKS, NODE, DEFAULT, conntrack=f"{line} mark=0 use=1\n")
    (note,) = only(host, "172.17.0.2", "10.96.0.10:53", Kind.UDP).notes
    assert note == f"host has such a connection already, whose packets keep their way: {line} mark=0 use=1"
    assert only(host, "172.17.0.2", "10.96.0.10:54", Kind.UDP).notes == ()


def test_a_bridge_between_two_pods() -> None:
    """It passes a Service's reply by itself: without br_netfilter, nobody undoes the translation."""
    saved = (
        "*nat\n-A PREROUTING -d 10.96.0.9 -p tcp --dport 80 -j DNAT --to-destination 172.17.0.3:8080\nCOMMIT\n"
        "*filter\n-A FORWARD -i docker0 -o docker0 -p tcp -m tcp --dport 22 -j DROP\nCOMMIT\n"
    )
    calls = "net.bridge.bridge-nf-call-iptables = 1\n"
    for setting, end, why in (
        (calls, End.LEFT, "the reply leaves host by docker0 towards 172.17.0.2, of which there is no dump"),
        ("", End.LOST, "host does not undo its translation: docker0 passes the reply without conntrack"),
    ):
        host = dumped(
            "host", NODE_LINKS, NODE, DEFAULT, iptables_save=saved, sysctl=f"net.ipv4.ip_forward = 1\n{setting}"
        )
        journey = only(host, "172.17.0.2", "10.96.0.9:80")
        assert (journey.end, why in journey.why) == (end, True), journey.why
        assert only(host, "172.17.0.2", "172.17.0.3:22").end is (End.DROPPED if setting else End.LEFT)
        assert only(host, "172.17.0.2", "172.17.0.3:23").hops[1].action is Action.BRIDGE
    with pytest.raises(UsageError, match="FROM and TO are both"):
        only(host, "172.17.0.2", "172.17.0.2:1")


def test_a_rule_that_asks_for_the_port_of_a_bridge() -> None:
    """Known by the bridge's forwarding; only rules that br_netfilter calls see it."""
    drop = "-m physdev --physdev-in veth2 -p tcp -m tcp --dport 22 -j DROP"
    saved = f"*filter\n-A FORWARD {drop}\n-A INPUT {drop}\nCOMMIT\n"
    macs = {"172.17.0.2": "aa:aa:aa:aa:aa:02", "172.17.0.3": "aa:aa:aa:aa:aa:03"}
    links = [*NODE_LINKS, *(link(f"veth{number}") for number in (2, 3))]
    for setting, dropped in (("net.bridge.bridge-nf-call-iptables = 1\n", True), ("", False)):
        host = dumped(
            "host", links, NODE, DEFAULT, iptables_save=saved, sysctl=f"net.ipv4.ip_forward = 1\n{setting}",
            neigh=[{"dst": ip, "dev": "docker0", "lladdr": mac, "state": ["REACHABLE"]} for ip, mac in macs.items()],
            fdb=[{"mac": mac, "ifname": f"veth{mac[-1]}", "master": "docker0"} for mac in macs.values()],
        )  # fmt: skip
        ends = [only(host, "172.17.0.2", to).end for to in ("172.17.0.3:22", "192.0.2.7:22", "192.0.2.1:22")]
        assert {end is End.DROPPED for end in ends} == {dropped}
        assert [only(host, "172.17.0.3", to).end for to in ("172.17.0.2:22", "192.0.2.7:22")] == [End.LEFT, End.LEFT]


def test_nft_asks_for_the_senders_port() -> None:
    listed = {"nftables": [
        {"table": {"family": "inet", "name": "t"}},
        {"chain": {"family": "inet", "table": "t", "name": "c", "type": "filter", "hook": "input", "prio": 0}},
        {"rule": {"family": "inet", "table": "t", "chain": "c", "expr": [
            {"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "sport"}}, "right": 40000}},
            {"drop": None},
        ]}},
    ]}  # fmt: skip
    host = dumped("host", NODE_LINKS, NODE, DEFAULT, **{"nft.json": json.dumps(listed)})
    journeys = trace_dumps([host], "192.0.2.7", "192.0.2.1:22")
    assert {journey.end for journey in journeys} == {End.DROPPED, End.LEFT}
    assert {journey.notes for journey in journeys} == {("not understood: the sender's port",)}
