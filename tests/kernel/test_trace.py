"""`trace`: what it says of a real packet is what the kernel did, and it leaves nothing behind."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from nslab.admission.load import load
from nslab.app.change import configure
from nslab.app.down import down
from nslab.app.predict import predict
from nslab.app.trace import trace, tracing
from nslab.app.up import up
from nslab.compiler.placement import assign_addresses
from nslab.errors import UsageError
from nslab.objects.names import cali, netns
from nslab.probes.probe import Kind
from nslab.trace.authors import BY_HAND
from nslab.trace.hops import Action, End
from nslab.views.journey import lines
from tests.kernel.labkit import NSLAB, agnhosts, nslab, until
from tests.kernel.labkit import in_host as run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.lab.types import Lab
    from nslab.trace.hops import Hop, Journey

LAB = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: NAME}
spec:
  cni: {plugin: calico, encapsulation: IPIP}
  proxy: {mode: iptables}
  dns: {address: 10.96.0.10}
  nodes: [{name: node1}, {name: node2}]
  clients: [{name: client}]
"""
SERVICES = """\
---
apiVersion: v1
kind: Service
metadata: {name: one}
spec:
  type: NodePort
  clusterIP: 10.96.1.1
  selector: {app: one}
  ports: [{port: 80, targetPort: 8080, nodePort: 31080}]
---
apiVersion: v1
kind: Service
metadata: {name: two}
spec: {clusterIP: 10.96.1.2, selector: {app: two}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: kept}
spec: {clusterIP: 10.96.1.4, selector: {app: two}, sessionAffinity: ClientIP, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: echo}
spec: {clusterIP: 10.96.1.3, selector: {app: one}, ports: [{port: 81, targetPort: 8081, protocol: UDP}]}
"""
BRIDGED = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: NAME}
spec: {cni: {plugin: kubenet}, proxy: {mode: userspace}, nodes: [{name: node1}, {name: node2}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, externalIPs: [203.0.113.5], ports: [{port: 80, targetPort: 8080}]}
"""
PODS = {"one": ("one", "node1"), "two-1": ("two", "node1"), "two-2": ("two", "node2"), "box": ("box", "node2")}
DIRECT = ["send", "DNAT", "forward", "forward", "receive"]
TUNNEL = ["send", "DNAT", "forward", "encapsulate", "decapsulate", "forward", "receive"]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    name = f"t{secrets.token_hex(4)}"
    file = tmp_path_factory.mktemp("trace") / f"{name}.yaml"
    file.write_text(LAB.replace("NAME", name) + agnhosts(PODS) + SERVICES)
    made = assign_addresses(load(file))
    up(made)
    yield made
    down(name)


def configured(lab: Lab, mode: str, encapsulation: str) -> None:
    configure(lab.name, {"proxy-mode": mode, "encapsulation": encapsulation})


def address(lab: Lab, pod: str) -> str:
    return next(str(one.assigned) for one in lab.pods if one.name == pod)


def actions(journey: Journey, *, reply: bool = False) -> list[str]:
    return [hop.action.value for hop in journey.hops if hop.reply is reply]


def only(journey: Journey, action: Action) -> Hop:
    [hop] = [hop for hop in journey.hops if hop.action is action and not hop.reply]
    return hop


MODES = [("iptables", "IPIP"), ("nftables", "VXLAN"), ("iptables", "None"), ("nftables", "IPIPCrossSubnet")]


@pytest.mark.parametrize(("mode", "encapsulation"), MODES)
def test_a_packet_to_a_service_and_back(lab: Lab, mode: str, encapsulation: str) -> None:
    configured(lab, mode, encapsulation)
    journey = trace(lab.name, "box", "svc/one")
    tunnel = encapsulation in ("IPIP", "VXLAN")
    assert journey.end is End.DELIVERED
    assert actions(journey) == (TUNNEL if tunnel else DIRECT)
    back = ["send", "forward", "encapsulate", "decapsulate", "forward", "reverse DNAT", "receive"]
    assert actions(journey, reply=True) == [one for one in back if tunnel or "capsulate" not in one]
    _is_what_the_kernel_has(lab, journey, mode)
    assert [(hop.host, hop.header.ttl) for hop in journey.hops if hop.action is Action.FORWARD] == [
        ("node2", 63), ("node1", 62), ("node1", 63), ("node2", 62)
    ]  # fmt: skip
    if tunnel:
        outer = only(journey, Action.ENCAPSULATE).outer
        overhead = {"IPIP": 20, "VXLAN": 50}[encapsulation]
        assert outer
        assert (outer.protocol, outer.length) == ({20: 4, 50: 17}[overhead], journey.hops[0].header.length + overhead)


def test_the_rule_that_accepts_is_named(lab: Lab) -> None:
    run(lab, "node1", "iptables -I FORWARD -p tcp -m comment --comment by-hand -j ACCEPT")
    try:
        done = nslab("trace", lab.name, "box", "svc/one", "--no-reply", "-o", "json")
        plain = nslab("trace", lab.name, "box", "svc/one", "--no-reply").stdout
    finally:
        run(lab, "node1", "iptables -D FORWARD 1")
    assert 'accepted by filter FORWARD: -p tcp -j ACCEPT "by-hand" [not the lab\'s]' in plain
    forwards = [hop for hop in json.loads(done.stdout)["hops"] if hop["action"] == "forward"]
    [accepted] = [one for one in forwards[-1]["accepted"] if one["table"] == "filter"]
    assert (forwards[-1]["verdict"], accepted["policy"], accepted["rules"][-1]["verdict"]) == (
        "accept",
        False,
        "accept",
    )


def _is_what_the_kernel_has(lab: Lab, journey: Journey, mode: str) -> None:
    """The rule that translates, the routes and conntrack's entries, as the kernel's own commands show them."""
    translated = only(journey, Action.DNAT)
    rule = translated.matches[-1]
    assert translated.before
    assert (f"{translated.before.target}", f"{translated.header.target}") == ("10.96.1.1", address(lab, "one"))
    assert translated.by == "kube-proxy"
    listed = run(lab, "node2", translated.command.split(" ", 4)[4])
    assert rule.rule.split(" -j ")[-1] in listed
    assert ("KUBE-SEP-" if mode == "iptables" else "endpoint-") in translated.cause
    for hop in journey.hops:
        if hop.action is Action.FORWARD:
            words = run(lab, hop.host, hop.command.replace(f"-n {netns(lab.name, hop.host)} ", "")).split()
            assert words[words.index("dev") + 1] == hop.dev
    [node2] = [one for one in journey.connections if one.host == "node2"]
    assert (str(node2.original), str(node2.reply)) == (
        str(journey.hops[0].header), f"{translated.header.receiver} -> {journey.hops[0].header.sender}"
    )  # fmt: skip


def test_every_hop_says_its_size_and_shows_a_command(lab: Lab) -> None:
    journey = trace(lab.name, "box", "svc/one")
    assert all(hop.command for hop in journey.hops)
    mtus = {(hop.host, hop.dev): hop.mtu for hop in journey.hops}
    for (host, dev), mtu in mtus.items():
        [link] = json.loads(run(lab, host, f"ip -j link show {dev}"))
        assert link["mtu"] == mtu


def test_from_outside_the_source_is_what_the_server_sees(lab: Lab) -> None:
    configured(lab, "iptables", "IPIP")
    journey = trace(lab.name, "client", "node2:31080")
    assert journey.end is End.DELIVERED
    seen = run(lab, "client", "curl -s --max-time 5 http://192.168.59.23:31080/clientip".replace(
        "192.168.59.23", str(next(node.address for node in lab.nodes if node.name == "node2"))
    ))  # fmt: skip
    assert seen.rpartition(":")[0] == str(only(journey, Action.RECEIVE).header.source)
    changed = only(journey, Action.SNAT)
    assert "MASQUERADE" in changed.matches[-1].rule
    assert changed.mark == 0x4000
    assert actions(journey, reply=True)[-4:] == ["reverse SNAT", "forward", "reverse DNAT", "receive"]


def test_a_pod_that_calls_itself_by_its_service(lab: Lab) -> None:
    journey = trace(lab.name, "one", "svc/one")
    assert actions(journey) == ["send", "DNAT", "forward", "SNAT", "receive"]
    assert {hop.host for hop in journey.hops} == {"one", "node1"}


def test_datagrams_and_echoes(lab: Lab) -> None:
    datagram = trace(lab.name, "box", "echo")
    assert (datagram.end, datagram.target.kind) == (End.DELIVERED, Kind.UDP)
    assert only(datagram, Action.DNAT).header.ports[1] == 8081
    echo = trace(lab.name, "box", address(lab, "one"), Kind.ICMP)
    assert (echo.end, echo.count(Action.DNAT)) == (End.DELIVERED, 0)
    dns = trace(lab.name, "box", "kube-dns")
    assert dns.end is End.DELIVERED
    assert {hop.host for hop in dns.hops} >= {"box", "node2", "kube-system_kube-dns"}
    assert not any(hop.header.source.is_loopback for hop in dns.hops)


def test_a_name_is_asked_of_dns_first(lab: Lab) -> None:
    journey = trace(lab.name, "box", "one.default")
    assert [(one.name, *map(str, one.addresses)) for one in journey.names] == [
        ("one.default.default.svc.cluster.local",), ("one.default.svc.cluster.local", "10.96.1.1")
    ]  # fmt: skip
    assert (journey.end, journey.target.port, journey.target.service) == (End.DELIVERED, 80, "default/one")
    with pytest.raises(UsageError, match=r"nobody\.default has no address: 10\.96\.0\.10 says of .*: NXDOMAIN"):
        trace(lab.name, "box", "nobody.default")


def test_a_nodes_own_packet_has_an_entry_of_its_node(lab: Lab) -> None:
    journey = trace(lab.name, "node2", "svc/one")
    [entry] = [one for one in journey.connections if one.host == "node2"]
    assert entry.original.ends == journey.hops[0].header.ends
    first, _, again = journey.hops[0].cause.partition("; after DNAT ")
    assert first.startswith("route ")
    assert address(lab, "one").rpartition(".")[0] in again
    assert journey.hops[0].cause == predict(lab.name, "node2", "svc/one")[0].hops[0].cause


def test_a_service_that_has_no_rule_for_the_packet_is_named(lab: Lab) -> None:
    for sender, to, kind, note in (
        ("box", "svc/one:81", None, "Service default/one has no port 81/TCP: it has 80/TCP"),
        ("box", "svc/one", Kind.UDP, "Service default/one has no port 80/UDP: it has 80/TCP"),
        ("box", "svc/one", Kind.ICMP, "kube-proxy has no rule for an ICMP echo"),
        ("client", "svc/one", None, "10.96.1.1 is a ClusterIP, which nodes and pods alone reach; call node1:31080"),
    ):
        journey = trace(lab.name, sender, to, kind)
        assert journey.end in (End.UNREACHABLE, End.LOST)  # Linux sends one ICMP error a second
        assert note in "\n".join(journey.notes)


def test_a_name_server_that_is_silent_has_a_way_on(lab: Lab) -> None:
    run(lab, "node2", "iptables -I FORWARD -p udp --dport 53 -j DROP")
    try:
        with pytest.raises(UsageError, match=rf"does not answer; `nslab trace {lab.name} box 10\.96\.0\.10:53 --udp`"):
            trace(lab.name, "box", "one.default")
    finally:
        run(lab, "node2", "iptables -D FORWARD -p udp --dport 53 -j DROP")


def test_one_of_two_is_drawn_with_its_chance(lab: Lab) -> None:
    drawn = [trace(lab.name, "box", "two") for _ in range(8)]
    targets = {str(only(journey, Action.DNAT).header.target) for journey in drawn}
    assert targets <= {address(lab, "two-1"), address(lab, "two-2")}
    chances = {one.chance for journey in drawn for one in only(journey, Action.DNAT).matches if one.chance < 1}
    assert chances == {0.5}


def test_kube_proxys_own_connection_is_followed(lab: Lab) -> None:
    def entries() -> str:
        return "".join(run(lab, node, "conntrack -L 2>/dev/null") for node in ("node1", "node2"))

    configured(lab, "userspace", "IPIP")
    try:
        journey, datagram = trace(lab.name, "box", "svc/one"), trace(lab.name, "box", "echo")
        left = entries()
        itself = [trace(lab.name, "node2", to) for to in ("svc/one", "node2:31080", "127.0.0.1:31080")]
        closed = trace(lab.name, "box", "10.96.0.1:443")  # kube-proxy accepts, and has no endpoint
    finally:
        configured(lab, "iptables", "IPIP")
    for one, port in ((journey, 8080), (datagram, 8081)):
        assert (one.end, one.deviation, one.notes) == (End.DELIVERED, "", ())
        assert {hop.host for hop in one.hops} == {"box", "node2"}
        assert actions(one) == ["send", "DNAT", "receive"]
        forth = [hop for hop in one.relay if not hop.reply]
        assert [hop.action.value for hop in forth] == ["send", "encapsulate", "decapsulate", "forward", "receive"]
        assert (str(forth[-1].header.target), forth[-1].header.ports[1]) == (address(lab, "one"), port)
        assert [hop.host for hop in one.relay if hop.reply][-1] == "node2"
        assert f"sport={forth[0].header.ports[0]} " not in left
    for one in (*itself, closed):
        back = [hop.action for hop in one.hops if hop.reply]
        assert (one.deviation, back) == ("", [Action.SEND, Action.REVERSE_DNAT, Action.RECEIVE])
    assert [one.notes for one in itself] == [()] * 3
    assert [str(one.relay[-1].header.source) for one in itself] == [address(lab, "one")] * 3
    assert closed.notes == ("kube-proxy takes the connection, has no endpoint for it, and closes it",)


@pytest.mark.skipif(not Path("/usr/lib/cni/bridge").exists(), reason="containernetworking-plugins is not installed")
def test_what_cni_plugins_made_is_theirs_and_no_deviation(tmp_path: Path) -> None:
    name = f"t{secrets.token_hex(4)}"
    file = tmp_path / f"{name}.yaml"
    (tmp_path / "pods.conf").write_text(
        '{"cniVersion": "1.0.0", "name": "pods", "type": "bridge", "isDefaultGateway": true, "hairpinMode": true, '
        '"ipam": {"type": "host-local", "subnet": "{{ node.podCIDR }}"}}'
    )
    exec_ = "{plugin: exec, conf: pods.conf, path: [/usr/lib/cni]}"
    file.write_text(LAB.replace("NAME", name).replace("{plugin: calico, encapsulation: IPIP}", exec_) + agnhosts(PODS))
    made = assign_addresses(load(file))
    up(made)
    try:
        journey = trace(name, "box", "one")
        with pytest.raises(UsageError, match=r"no state has the way of .* which is made by CNI plugins"):
            predict(name, "box", "one")
    finally:
        down(name)
    assert (journey.end, journey.deviation) == (End.DELIVERED, "")
    assert BY_HAND not in {hop.by for hop in journey.hops}
    assert "CNI plugins" in {hop.by for hop in journey.hops}


def test_a_packet_for_nobody_is_lost_as_predicted(lab: Lab) -> None:
    networks = {node.name: node.pod_cidr for node in lab.nodes}
    for to in (str(networks["node1"][-2]), "192.168.59.77", "224.0.0.1"):
        journey = trace(lab.name, "box", f"{to}:80")
        assert (journey.end is End.DELIVERED, journey.deviation) == (False, ""), to


def test_the_packet_of_a_vxlan_tunnel_meets_rules_of_its_own(lab: Lab) -> None:
    rule = "INPUT -p udp --dport 4789 -j DROP"
    configured(lab, "iptables", "VXLAN")
    try:
        journey = trace(lab.name, "node2", "svc/one")
        run(lab, "node1", f"iptables -I {rule}")
        dropped = trace(lab.name, "box", "one")
        run(lab, "node1", f"iptables -D {rule}")
        run(lab, "node1", f"iptables -I FORWARD -d {address(lab, 'one')} -j DROP")
        patient = {**os.environ, "NSLAB_TIMEOUT_FACTOR": "2"}  # so long that TCP repeats what is not answered
        done = nslab("trace", lab.name, "box", "one", "-o", "json", env=patient)
        run(lab, "node1", "iptables -D FORWARD 1")
    finally:
        configured(lab, "iptables", "IPIP")
    repeated = json.loads(done.stdout)
    assert [hop["action"] for hop in repeated["hops"]] == ["send", "forward", "encapsulate", "decapsulate", "drop"]
    assert "seen: node1 drops it" in repeated["deviation"]
    assert only(journey, Action.SNAT).matches[-1].rule.startswith("-j MASQUERADE")
    assert (journey.end, journey.deviation) == (End.DELIVERED, "")
    last = dropped.hops[-1]
    assert (dropped.end, last.host, last.action, last.by) == (End.DROPPED, "node1", Action.DROP, BY_HAND)


def test_rules_that_ask_for_the_port_of_a_bridge(tmp_path: Path) -> None:
    name = f"t{secrets.token_hex(4)}"
    file = tmp_path / f"{name}.yaml"
    file.write_text(BRIDGED.replace("NAME", name) + agnhosts({"one": ("web", "node1")}))
    lab = assign_addresses(load(file))
    up(lab)
    try:
        (predicted,) = predict(name, "one", "203.0.113.5:80")
        journey = trace(name, "one", "203.0.113.5:80")
        called = run(lab, "node1", "sysctl -n net.bridge.bridge-nf-call-iptables 2>/dev/null").strip() == "1"
    finally:
        down(name)
    assert (Action.DNAT in [hop.action for hop in journey.hops]) is not called
    assert (predicted.end, journey.deviation) == (journey.end, "")


def test_a_rule_by_hand_in_kube_proxys_chain_of_nft(lab: Lab) -> None:
    configured(lab, "nftables", "IPIP")
    try:
        run(lab, "node2", "nft insert rule ip kube-proxy services ip daddr 10.96.1.1 counter drop")
        dropped = trace(lab.name, "box", "svc/one")
        run(lab, "node2", "nft delete rule ip kube-proxy services handle $(nft -a list chain ip kube-proxy services "
            "| sed -n 's/.*drop # handle //p')")  # fmt: skip
        journey = trace(lab.name, "box", "svc/one")
    finally:
        configured(lab, "iptables", "IPIP")
    assert (dropped.end, dropped.hops[-1].by) == (End.DROPPED, BY_HAND)
    assert (journey.end, only(journey, Action.DNAT).by) == (End.DELIVERED, "kube-proxy")


def test_several_packets_of_one_tracer(lab: Lab) -> None:
    """It reads rules again that have changed, and what waits for the next packet traces none."""
    drop = f"FORWARD -d {address(lab, 'one')} -m comment --comment mine -j DROP"
    configured(lab, "iptables", "IPIP")
    with tracing(lab.name) as tracer:
        ends = [tracer.trace("box", "svc/one").end]
        assert "nslab-trace" not in run(lab, "node2", "nft list tables")
        run(lab, "node2", f"iptables -I {drop}")
        try:
            dropped = tracer.trace("box", "svc/one")
        finally:
            run(lab, "node2", f"iptables -D {drop}")
        found = [tracer.trace("box", to) for to in ("svc/one", "two-1:8080", "svc/one")]
    assert (dropped.end, dropped.hops[-1].matches[-1].comment) == (End.DROPPED, "mine")
    assert {*ends, *(journey.end for journey in found)} == {End.DELIVERED}
    assert [journey.deviation for journey in found] == ["", "", ""]
    assert [str(journey.hops[0].header.target) for journey in found] == [
        "10.96.1.1",
        address(lab, "two-1"),
        "10.96.1.1",
    ]
    assert actions(found[0]) == TUNNEL


def test_a_tracer_sees_a_lab_that_was_changed(lab: Lab) -> None:
    with tracing(lab.name) as tracer:
        configured(lab, "iptables", "IPIP")
        tunnelled = tracer.trace("box", "svc/one")
        configured(lab, "nftables", "None")
        direct = tracer.trace("box", "svc/one")
    assert (actions(tunnelled), actions(direct)) == (TUNNEL, DIRECT)
    assert (tunnelled.deviation, direct.deviation) == ("", "")


class Lost(NamedTuple):
    """`line` breaks `host`, `undo` takes it back. `says`: in the sentence or in what differs; `at`: the last hop."""

    host: str
    line: str
    undo: str
    end: End
    at: tuple[str, Action]
    says: tuple[str, ...]


LOST = {
    "a rule by hand": Lost(
        "node1", "iptables -I FORWARD -d ONE -j DROP", "iptables -D FORWARD -d ONE -j DROP", End.DROPPED,
        ("node1", Action.DROP), ("node1 drops it by filter FORWARD", "-j DROP (not the lab's)")),
    "a rule by hand in kube-proxy's chain": Lost(
        "node2", "iptables -I KUBE-FORWARD -d ONE -j ACCEPT; iptables -I KUBE-FORWARD -d ONE -j DROP",
        "iptables -D KUBE-FORWARD -d ONE -j ACCEPT; iptables -D KUBE-FORWARD -d ONE -j DROP",
        End.DROPPED, ("node2", Action.DROP),
        ("node2 drops it by filter FORWARD > KUBE-FORWARD: -d ONE/32 -j DROP (not the lab's)",)),
    "rejected": Lost(
        "node2", "iptables -I FORWARD -d ONE -j REJECT --reject-with icmp-host-prohibited",
        "iptables -D FORWARD -d ONE -j REJECT --reject-with icmp-host-prohibited", End.REJECTED,
        ("node2", Action.REJECT), ("node2 rejects it by filter FORWARD", "icmp-host-prohibited")),
    "raw": Lost(
        "node2", "iptables -t raw -I PREROUTING -d 10.96.1.1 -j DROP", "iptables -t raw -F", End.DROPPED,
        ("node2", Action.DROP), ("node2 drops it by raw PREROUTING",)),
    "a policy": Lost(
        "one", "iptables -P INPUT DROP", "iptables -P INPUT ACCEPT", End.DROPPED,
        ("one", Action.DROP), ("one drops it by policy DROP of chain INPUT (table filter)",)),
    "nft by hand": Lost(
        "node1", "nft add table inet mine; nft add chain inet mine f '{type filter hook forward priority 5;}'; "
        "nft add rule inet mine f ip daddr ONE drop", "nft delete table inet mine", End.DROPPED,
        ("node1", Action.DROP), ("node1 drops it by mine f", "(not the lab's)")),
    "the reply": Lost(
        "node2", "iptables -I FORWARD -s ONE -j DROP", "iptables -D FORWARD -s ONE -j DROP", End.DROPPED,
        ("node2", Action.DROP), ("node2 drops the reply by filter FORWARD",)),
    "the sender's own rule": Lost(
        "box", "iptables -A OUTPUT -p tcp --dport 80 -j DROP", "iptables -D OUTPUT -p tcp --dport 80 -j DROP",
        End.DROPPED, ("box", Action.DROP), ("box drops it by filter OUTPUT",)),
    "the answerer's own rule": Lost(
        "one", "iptables -A OUTPUT -p tcp --sport 8080 -j DROP", "iptables -D OUTPUT -p tcp --sport 8080 -j DROP",
        End.DROPPED, ("one", Action.DROP), ("one drops the reply by filter OUTPUT",)),
    "the sender's rule for the reply": Lost(
        "box", "iptables -A INPUT -p tcp --sport 80 -j DROP", "iptables -D INPUT -p tcp --sport 80 -j DROP",
        End.DROPPED, ("box", Action.DROP), ("box drops the reply by filter INPUT",)),
    "nobody answers for the gateway": Lost(
        "node2", "sysctl -qw net.ipv4.conf.@BOX.proxy_arp=0; ip -n NS.box neigh flush all", "", End.LOST,
        ("box", Action.SEND), ("nobody answers its ARP requests for 169.254.1.1", "proxy_arp = 0 instead of 1")),
    "the tunnel's packet": Lost(
        "node2", "iptables -I OUTPUT -p 4 -j DROP", "iptables -D OUTPUT -p 4 -j DROP", End.DROPPED,
        ("node2", Action.DROP), ("node2 drops it by filter OUTPUT",)),
    "no route": Lost(
        "node1", "ip route del ONE", "ip route add ONE dev @ONE scope link", End.LOST,
        ("node1", Action.LOST), ("node1 does not pass it on: a blackhole route drops it", "node1 has no route to ONE")),
    "no forwarding": Lost(
        "node1", "sysctl -qw net.ipv4.ip_forward=0", "", End.LOST,
        ("node1", Action.LOST), (
            "node1 does not pass it on: it does not forward (ip_forward is 0)", "ip_forward = 0 instead of 1")),
    "no forwarding at one interface": Lost(
        "node1", "sysctl -qw net.ipv4.conf.tunl0.forwarding=0", "", End.LOST, ("node1", Action.LOST),
        ("node1 does not pass it on: it does not forward what comes in there (the interface's forwarding is 0)",)),
    "a route that says unreachable": Lost(
        "node2", "ip route add unreachable ONE", "ip route del unreachable ONE", End.UNREACHABLE,
        ("node2", Action.LOST), ("node2 does not pass it on: a route of its says unreachable",)),
    "nobody answers a node": Lost(
        "node1", "ip route replace ONE via 192.168.59.99 dev eth0 onlink", "ip route del ONE", End.LOST,
        ("node1", Action.LOST), ("node1 does not pass it on: nobody answers its ARP requests for 192.168.59.99 on eth0",
        "seen: node1 does not pass it on (nobody answers its ARP requests")),
    "rp_filter": Lost(
        "node1", "ip route add BOX dev @TWO1; sysctl -qw net.ipv4.conf.tunl0.rp_filter=1 net.ipv4.conf.all.rp_filter=1",
        "ip route del BOX dev @TWO1", End.LOST,
        ("node1", Action.LOST), ("its rp_filter drop", "seen: node1 does not pass it on (its rp_filter drops it")),
    "nft rejects": Lost(
        "node1", "nft add table inet mine; nft add chain inet mine f '{type filter hook forward priority 5;}'; "
        "nft add rule inet mine f ip daddr ONE reject with icmp type admin-prohibited", "nft delete table inet mine",
        End.REJECTED, ("node1", Action.REJECT), ("node1 rejects it by mine f", "reject with icmp")),
    "a queue that nobody reads": Lost(
        "node1", "iptables -I FORWARD -d ONE -j NFQUEUE --queue-num 7",
        "iptables -D FORWARD -d ONE -j NFQUEUE --queue-num 7", End.LOST, ("node1", Action.LOST),
        ("node1 does not pass it on: no program takes it from the queue of filter FORWARD", "NFQUEUE --queue-num 7")),
    "the other end's MTU": Lost(
        "node1", "ip link set eth0 mtu 68", "", End.LOST, ("node2", Action.ENCAPSULATE),
        ("nowhere after that", "has MTU 68 instead of")),
    "a TTL of one": Lost(
        "box", "sysctl -qw net.ipv4.ip_default_ttl=1", "", End.UNREACHABLE, ("node2", Action.LOST),
        ("node2 does not pass it on: its TTL is over",)),
    "a rule that sets the TTL to one": Lost(
        "node2", "nft add table ip mine; nft add chain ip mine p '{type filter hook prerouting priority -150;}'; "
        "nft add rule ip mine p ip daddr 10.96.1.1 ip ttl set 1", "nft delete table ip mine", End.UNREACHABLE,
        ("node2", Action.LOST), ("node2 does not pass it on: its TTL is over",)),
    "nobody has the address": Lost(
        "one", "ip addr del ONE/32 dev eth0", "", End.LOST, ("one", Action.LOST), ("one has no address ONE/32",)),
    "nobody listens": Lost("node1", "true", "", End.REFUSED, ("box", Action.RECEIVE), (
        "one refuses it (TCP reset): it has the address, and nothing listens there on port 9",)),
}  # fmt: skip


STOPS = (Action.DROP, Action.REJECT, Action.LOST)


@pytest.mark.parametrize("name", LOST)
def test_a_lost_packet_is_followed_to_where_it_ends(lab: Lab, name: str) -> None:
    lost = LOST[name]
    run(lab, lost.host, lost.line)
    try:
        journey = trace(lab.name, "box", "one:9" if name == "nobody listens" else "svc/one")
    finally:
        if lost.undo:
            run(lab, lost.host, lost.undo)
        up(lab)
    last = next((hop for hop in journey.hops if hop.action in STOPS), journey.hops[-1])
    text = "\n".join((journey.why, journey.deviation, *journey.differing))
    assert (journey.end, (last.host, last.action)) == (lost.end, lost.at), text
    for words in lost.says:
        assert words.replace("ONE", address(lab, "one")) in text
    predicted, _, seen = journey.deviation.partition("; seen: ")
    if name == "nobody listens":  # which no State says
        assert not predicted
    else:
        assert "the lab's state predicts" in predicted
        assert seen == "nothing more" or seen.startswith(f"{last.host} ")


def test_a_packet_that_is_too_big_for_a_link(lab: Lab) -> None:
    line = f"ip link set $(ip -o route get {address(lab, 'one')} | sed 's/.* dev //; s/ .*//') mtu 1000"
    run(lab, "node1", line)
    try:
        lost = trace(lab.name, "box", "one", Kind.ICMP, 1001)
        small = trace(lab.name, "box", "one:8081", Kind.UDP, 1000)
    finally:
        up(lab)
    assert (lost.end, actions(lost)[-1], actions(lost, reply=True)[0]) == (End.UNREACHABLE, "lost", "send")
    assert "its 1001 bytes are more than the MTU of cali" in lost.why
    assert lost.deviation.startswith("the lab's state predicts: node1 forwards it to cali")
    assert (small.end, small.deviation) == (End.DELIVERED, "")
    assert {hop.header.length for hop in small.hops if not hop.reply} == {1000}
    for journey in (trace(lab.name, "box", "one", Kind.ICMP, 1481), *predict(lab.name, "box", "one", Kind.ICMP, 1481)):
        assert (journey.end, journey.why) == (End.UNREACHABLE, "box sends nothing: Message too long")
        assert journey.deviation == ""


def test_a_server_that_leaves_datagrams_unread(lab: Lab) -> None:
    mute = (
        "import socket; s = socket.socket(2, 2); s.setsockopt(1, 8, 1); s.bind(('', 9000)); "
        "[s.sendto(bytes(1000), ('127.0.0.1', 9000)) for _ in range(9)]; print(flush=True); input()"
    )
    argv = ["ip", "netns", "exec", netns(lab.name, "one"), sys.executable, "-c", mute]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout
        server.stdout.readline()
        journey = trace(lab.name, "box", "one:9000", Kind.UDP)
        server.kill()
    assert journey.why == (
        "it comes in at one's eth0, and one does not answer: "
        "meanwhile its server left datagrams unread until there was no room for more"
    )


def test_an_icmp_error_has_its_own_way_back(lab: Lab) -> None:
    run(lab, "node1", f"iptables -I FORWARD -d {address(lab, 'one')} -j REJECT --reject-with icmp-host-prohibited")
    try:
        journey = trace(lab.name, "box", "svc/one")
        echo = trace(lab.name, "box", "one", Kind.ICMP)
    finally:
        run(lab, "node1", "iptables -D FORWARD 1")
    assert actions(echo, reply=True) == ["send", "encapsulate", "decapsulate", "forward", "receive"]
    assert "the ICMP error" in [text for _, text in lines(echo)]
    assert "the reply" in [text for _, text in lines(trace(lab.name, "box", "one", Kind.ICMP))]
    back = [hop for hop in journey.hops if hop.reply]
    assert [hop.action.value for hop in back] == [
        "send", "encapsulate", "decapsulate", "forward", "reverse DNAT", "receive"
    ]  # fmt: skip
    assert (back[0].host, back[-1].host, str(back[-1].header.source)) == ("node1", "box", "10.96.1.1")
    assert {hop.header.protocol for hop in back} == {1}
    shown = "\n".join(text for _, text in lines(journey))
    assert ("the ICMP error" in shown, "the reply" in shown) == (True, False)


def test_it_leaves_nothing_behind(lab: Lab) -> None:
    def kernel() -> list[str]:
        hosts = ("box", "node1", "node2", "one", "client")
        rules = "nft list tables; iptables-save | grep -v '^#' | sed 's/\\[.*//'"
        return [run(lab, host, f"{rules}; conntrack -L 2>/dev/null | grep -c 'dport=80 ' || true") for host in hosts]

    def invalid() -> int:
        """The packets of which conntrack on node1 knew no connection."""
        saved = run(lab, "node1", "iptables-save -c -t filter | grep 'KUBE-FORWARD.*INVALID'")
        return int(saved.partition("[")[2].partition(":")[0])

    def servers() -> str:
        """The connections of the server that have not ended."""
        return run(lab, "one", "ss -Htn state fin-wait-2 state established state close-wait sport = 8080")

    before, dropped = kernel(), invalid()
    ports = {trace(lab.name, "box", "svc/one").hops[0].header.ports[0] for _ in range(3)}
    ports.add(trace(lab.name, "client", "node2:31080").hops[0].header.ports[0])
    own = trace(lab.name, "node2", "svc/one")
    assert "node2" in [one.host for one in own.connections]
    assert trace(lab.name, "box", "one.default.svc.cluster.local:80").names, "DNS was asked, too"
    ports.add(own.hops[0].header.ports[0])
    assert kernel() == before
    for host in ("node1", "node2"):
        known = run(lab, host, "conntrack -L 2>/dev/null")
        assert not [port for port in ports if f"sport={port} " in known]
        assert not [line for line in known.splitlines() if line.startswith("udp") and "dport=53 " in line]
    assert (invalid(), servers()) == (dropped, ""), "the reset found its connection"


def test_it_leaves_no_entry_of_ip_in_ip_but_what_was_there(lab: Lab) -> None:
    def entries() -> list[bool]:
        return ["unknown  4 " in run(lab, host, "conntrack -L 2>/dev/null") for host in ("node1", "node2")]

    def forget() -> None:
        for host in ("node1", "node2"):
            run(lab, host, "conntrack -D -p 4 2>/dev/null || true")

    forget()
    for to in ("svc/one", "one.default.svc.cluster.local:80"):
        assert "encapsulate" in actions(trace(lab.name, "box", to))
        assert entries() == [False, False]
    run(lab, "box", f"ping -c 1 -W 2 {address(lab, 'one')}")
    assert entries() == [True, True]
    trace(lab.name, "box", "svc/one")
    assert entries() == [True, True]
    forget()


def test_it_leaves_no_entry_of_its_tunnel_s_packets(lab: Lab) -> None:
    configured(lab, "iptables", "VXLAN")
    try:
        for _ in range(2):
            assert "encapsulate" in actions(trace(lab.name, "box", "svc/one"))
        assert [
            host for host in ("node1", "node2") if "dport=4789 " in run(lab, host, "conntrack -L 2>/dev/null")
        ] == []
    finally:
        configured(lab, "iptables", "IPIP")


@pytest.mark.parametrize("mode", ["iptables", "nftables"])
def test_the_sender_is_not_kept_at_the_endpoint_that_it_drew(lab: Lab, mode: str) -> None:
    def pinned() -> str:
        return run(lab, "node2", "nft list ruleset | grep -A9 'set affinity' | grep elements || true; "
                   "cat /proc/net/xt_recent/* 2>/dev/null || true")  # fmt: skip

    configured(lab, mode, "IPIP")
    assert not pinned()
    drawn = {str(only(trace(lab.name, "box", "kept"), Action.DNAT).header.target) for _ in range(12)}
    assert drawn == {address(lab, "two-1"), address(lab, "two-2")}
    assert not pinned()
    run(lab, "box", "curl -s --max-time 5 http://10.96.1.4/hostname")
    before = pinned()
    assert address(lab, "box") in before
    kept = trace(lab.name, "box", "kept")
    [note] = kept.notes
    assert "the sender had this endpoint already, and its time of 10800 s begins anew" in note
    assert address(lab, "box") in pinned()


def test_an_echo_is_known_by_its_identifier(lab: Lab) -> None:
    one, box = address(lab, "one"), address(lab, "box")
    run(lab, "box", f"ping -c 1 -W 5 -e 4242 {one}")
    journey = trace(lab.name, "box", one, Kind.ICMP)
    assert {entry.host for entry in journey.connections} >= {"node1", "node2"}
    [identity] = {entry.original.identity for entry in journey.connections}
    assert identity == journey.hops[0].header.identity != 4242
    for node in ("node1", "node2"):
        known = run(lab, node, f"conntrack -L -p icmp --orig-src {box} 2>/dev/null")
        assert "id=4242" in known
        assert f"id={identity} " not in known


def test_killed_it_leaves_no_rule(lab: Lab) -> None:
    run(lab, "node1", "iptables -I FORWARD -d " + address(lab, "one") + " -j DROP")
    try:
        process = subprocess.Popen([*NSLAB, "trace", lab.name, "box", "one"], stdout=subprocess.DEVNULL)
        until(lambda: f"nslab-trace-{process.pid}" in run(lab, "node1", "nft list tables"))
        process.send_signal(signal.SIGKILL)
        process.wait()
        until(lambda: "nslab-trace" not in run(lab, "node1", "nft list tables"))
    finally:
        run(lab, "node1", "iptables -D FORWARD -d " + address(lab, "one") + " -j DROP")


def test_two_at_once_see_their_own_packets(lab: Lab) -> None:
    configured(lab, "iptables", "IPIP")
    calls = [[*NSLAB, "trace", lab.name, "box", to, "-o", "json"] for to in ("svc/one", "two-1:8080")] * 2
    with ThreadPoolExecutor(4) as pool:
        texts = [*pool.map(lambda argv: subprocess.run(argv, capture_output=True, text=True).stdout, calls)]
    for to, text in zip(("one", "two-1", "one", "two-1"), texts, strict=True):
        journey = json.loads(text)
        assert journey["end"] == "delivered"
        assert journey["hops"][0]["packet"]["target"] == (address(lab, to) if to != "one" else "10.96.1.1")
        assert len({hop["packet"]["sourcePort"] for hop in journey["hops"] if not hop["reply"]}) == 1
        assert all(rule["rule"].startswith("-") for hop in journey["hops"] for rule in hop["rules"])


def test_the_command_line(lab: Lab) -> None:
    done = nslab("trace", lab.name, "box", "svc/one")
    assert (done.returncode, done.stderr) == (0, "")
    assert "box to Service default/one (10.96.1.1:80), tcp" in done.stdout
    assert "delivered, and answered after" in done.stdout
    short = nslab("trace", lab.name, "box", "svc/one", "--no-reply")
    assert "the reply" in done.stdout
    assert "the reply" not in short.stdout
    refused = nslab("trace", lab.name, "box", "one:9")
    assert refused.returncode == 1
    for words, says in {
        ("bax", "one"): "has no host bax; did you mean box?",
        ("box", "onee"): "has no host and no Service onee; did you mean one?",
        ("box", "node1"): "say to which port: nslab trace",
        ("box", "one:x"): "x is not a port",
        ("box", "fe80::1"): "fe80::1 is an IPv6 address",
        ("fe80::1", "one"): "fe80::1 is an IPv6 address",
        ("box", "one", "--udp", "--icmp"): "a packet is one of them",
    }.items():
        done = nslab("trace", lab.name, *words)
        assert done.returncode == 2, words
        assert says in done.stderr
        assert "Traceback" not in done.stderr


def test_who_answered_an_arp_request_is_named(lab: Lab) -> None:
    gateway = next(link for link in run(lab, "node2", "ip -o link").split() if link.startswith(cali("default", "box")))
    run(lab, "box", "ip neigh flush dev eth0")
    [first, *_] = trace(lab.name, "box", "one").hops
    interface = gateway.partition("@")[0]
    where, who = first.note.splitlines()
    assert (where, who) == (
        "169.254.1.1 is at ee:ee:ee:ee:ee:ee", f"node2's {interface} answered its ARP request for 169.254.1.1"
    )  # fmt: skip
    [first, *_] = trace(lab.name, "box", "one").hops
    assert "answered" not in first.note
