"""What `probe` says of a broken lab: one lab is broken in every way in turn, probed, and repaired.

Each break has the sentence that must come. None may blame what was not looked at.
"""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, NamedTuple

import pytest

from nslab.app.down import down
from nslab.app.drift import drift_of
from nslab.app.probe import probe
from nslab.app.up import up
from nslab.compiler.placement import assign_addresses
from nslab.lab.load import load
from nslab.objects.names import cali, netns
from nslab.probes.verdict import squares, verdict
from nslab.views.service_matrix import four_cells

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nslab.app.probe import Probed
    from nslab.lab.types import Lab

pytestmark = pytest.mark.root

LAB = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: evidence}
spec:
  cni: {plugin: calico, encapsulation: VXLAN}
  proxy: {mode: iptables}
  nodes: [{name: node1}, {name: node2}]
  clients: [{name: client}]
"""
POD = """\
---
apiVersion: v1
kind: Pod
metadata: {name: NAME, labels: {app: APP}}
spec:
  nodeName: NODE
  containers:
  - {name: c, image: agnhost, args: [netexec, --http-port=8080], ports: [{containerPort: 8080}]}
"""
SERVICE = """\
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  clusterIP: 10.96.1.1
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080, nodePort: 31080}]
"""
OUTSIDE = """\
---
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: 10.96.1.2, ports: [{port: 5432}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: db-1, labels: {kubernetes.io/service-name: db}}
addressType: IPv4
ports: [{name: "", port: 5432}]
endpoints: [{addresses: [192.168.59.10]}]
"""
PODS = {"web-1": ("web", "node1"), "web-2": ("web", "node2"), "box": ("box", "node2")}


def written(folder: Path, more: str = "", name: str = "evidence") -> Lab:
    """The lab, from a file."""
    file = folder / f"{name}.yaml"
    pods = (POD.replace("NAME", pod).replace("APP", app).replace("NODE", on) for pod, (app, on) in PODS.items())
    file.write_text(LAB.replace("evidence", name) + "".join(pods) + SERVICE + more)
    return assign_addresses(load(file))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    made = written(tmp_path_factory.mktemp("evidence"))
    up(made)
    yield made
    down(made.name)


def run(lab: Lab, host: str, line: str) -> None:
    """A command line in a host's network namespace; `WEB1` is a pod's address, `@WEB1` its link's end on the node."""
    for pod in lab.pods:
        word = pod.name.replace("-", "").upper()
        line = line.replace(f"@{word}", cali("default", pod.name)).replace(word, str(pod.assigned))
    done = subprocess.run(
        ["ip", "netns", "exec", netns(lab.name, host), "sh", "-ec", line], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


class Break(NamedTuple):
    """`line` breaks `host`; `undo` takes back what `up` leaves alone. `says`: all must come, somewhere.

    `proxy`: kube-proxy may be blamed. `sources`: who asks.
    """

    host: str
    line: str
    undo: str
    says: tuple[str, ...]
    proxy: bool = False
    sources: tuple[str, ...] = ("box", "web-1", "node2")


BREAKS = {
    # Routes
    "no block route": Break("node2", "ip route del 20.96.0.0/26", "", ("node2 has no route to 20.96.0.0/26",)),
    "no route to a pod": Break("node1", "ip route del WEB1", "", (
        "node1 has no route to 20.96.0.1/32", "never leaving node1")),
    "no default route": Break("box", "ip route del default", "", ("box has no default route", "box sends nothing")),
    "blackhole": Break("node2", "ip route add blackhole WEB1", "", ("node2 has a blackhole for 20.96.0.1/32",)),
    "unreachable": Break("node2", "ip route add unreachable WEB1", "", ("node2 has a route unreachable 20.96.0.1/32",)),
    "prohibit": Break("node1", "ip route add prohibit WEB2", "", ("node1 has a route prohibit 20.96.0.65/32",)),
    "throw": Break("node2", "ip route add throw WEB1", "", ("node2 has a route throw 20.96.0.1/32",)),
    "route into lo": Break("node2", "ip route add WEB1 dev lo", "", (
        "node2 has a route to 20.96.0.1/32 through lo", "it has gone in a circle")),
    "route to the wrong host": Break(
        "node2", "ip route replace 20.96.0.0/26 via 192.168.59.10 dev eth0", "",
        ("node2's route to 20.96.0.0/26 leads via 192.168.59.10", "at client's eth0, never leaving client")),
    "routing rule": Break(
        "node2", "ip rule add from BOX blackhole", "ip rule del from BOX blackhole",
        ("routing rule", "from 20.96.0.66/32 blackhole")),
    # Neighbours
    "wrong static ARP entry": Break(
        "node2", "ip neigh replace WEB2 lladdr 02:00:00:00:00:99 dev @WEB2 nud permanent", "",
        ("node2's permanent ARP entry for 20.96.0.65",)),
    "no ARP entry of a tunnel": Break("node2", "ip neigh del 20.96.0.0 dev vxlan.calico", "", (
        "node2 has no permanent ARP entry for 20.96.0.0",)),
    "no proxy ARP": Break(
        "node2", "sysctl -qw net.ipv4.conf.@BOX.proxy_arp=0; ip -n nslab.evidence.box neigh flush all", "",
        ("proxy_arp = 0 instead of 1", "nobody answers its ARP requests for 169.254.1.1 on eth0")),
    "FDB entry": Break(
        "node2",
        'bridge fdb replace "$(bridge fdb show dev vxlan.calico | cut -c 1-17 | head -n 1)" dev vxlan.calico '
        "dst 192.168.59.99", "", ("node2's FDB entry of vxlan.calico",)),
    # Sets, chains, rules
    "set member": Break("node2", "ipset del cali40masq-ipam-pools 20.96.0.0/12", "", (
        "node2 has no member 20.96.0.0/12 in ipset cali40masq-ipam-pools",)),
    "FORWARD's policy": Break("node2", "iptables -P FORWARD DROP", "", (
        "node2's chain FORWARD (table filter) has policy DROP", "policy DROP of chain FORWARD (table filter) counted")),
    "INPUT's policy": Break("node2", "iptables -P INPUT DROP", "", (
        "node2's chain INPUT (table filter) has policy DROP", "policy DROP of chain INPUT (table filter) counted")),
    "a pod's OUTPUT": Break("box", "iptables -P OUTPUT DROP", "", (
        "box's chain OUTPUT (table filter) has policy DROP", "box sends nothing")),
    "rule that drops": Break("node2", "iptables -I FORWARD -p udp -j DROP", "iptables -D FORWARD 1", (
        "node2 has something that is not the lab's: iptables -t filter -A FORWARD -p udp -j DROP",
        "its rule -A FORWARD -p udp -j DROP (table filter) counted packets")),
    "rule that rejects": Break("node2", "iptables -I FORWARD -d WEB2 -j REJECT", "iptables -D FORWARD 1", (
        "node2 has something that is not the lab's", "node2 refuses it (port unreachable)")),
    "rule that resets": Break(
        "node2", "iptables -I FORWARD -p tcp -d WEB2 -j REJECT --reject-with tcp-reset", "iptables -D FORWARD 1",
        ("node2 has something that is not the lab's", "node2 refuses it (TCP reset)")),
    "rule in a pod": Break(
        "web-2", "iptables -A INPUT -p tcp --dport 8080 -j DROP", "iptables -D INPUT 1",
        ("web-2 has something that is not the lab's", "web-2 does not answer")),
    "rule of mangle": Break(
        "node1", "iptables -t mangle -A FORWARD -p icmp -j DROP", "iptables -t mangle -F FORWARD", (
        "node1 has something that is not the lab's", "(table mangle) counted packets")),
    "no tracking": Break(
        "node2", "iptables -t raw -I PREROUTING -j NOTRACK", "iptables -t raw -D PREROUTING 1",
        ("node2 has something that is not the lab's: iptables -t raw -A PREROUTING -j NOTRACK",), proxy=True),
    "NAT of others'": Break(
        "node2", "iptables -t nat -I PREROUTING -d 10.96.1.1 -p tcp -j DNAT --to 192.168.59.10:9999",
        "iptables -t nat -D PREROUTING 1",
        ("node2 has something that is not the lab's", "client refuses it (TCP reset)"),
        proxy=True),
    "source NAT of others'": Break(
        "node2", "iptables -t nat -I POSTROUTING -d WEB1 -j SNAT --to 192.168.59.23",
        "iptables -t nat -D POSTROUTING 1", ("node2 has something that is not the lab's: iptables -t nat",)),
    "nft table": Break(
        "node2", "nft 'add table inet rogue; add chain inet rogue f { type filter hook forward priority 0; }; "
        "add rule inet rogue f ip protocol icmp drop'", "nft delete table inet rogue",
        ("node2 has something that is not the lab's: nft table inet rogue", "never leaving node2")),
    "kube-proxy's rules": Break(
        "node2", "iptables -t nat -F KUBE-SERVICES", "", ("node2's chain KUBE-SERVICES (table nat) lacks",),
        proxy=True),
    "an endpoint's rules": Break(
        "node2", "iptables -t nat -F $(iptables -t nat -S | grep -o 'KUBE-SEP-[A-Z0-9]*' | head -n 1)", "",
        ("(table nat) of Service default/web lacks",), proxy=True),
    "kube-proxy's masquerading": Break(
        "node2", "iptables -t nat -F KUBE-POSTROUTING", "", ("node2's chain KUBE-POSTROUTING (table nat) lacks",),
        proxy=True, sources=("web-2",)),
    "Calico's masquerading": Break(
        "node2", "iptables -t nat -F cali-nat-outgoing", "", ("node2's chain cali-nat-outgoing (table nat) lacks",)),
    # Settings
    "no forwarding": Break("node2", "sysctl -qw net.ipv4.ip_forward=0", "", (
        "node2 has net.ipv4.ip_forward = 0", "it does not forward what came in meanwhile")),
    "no forwarding of one interface": Break("node1", "sysctl -qw net.ipv4.conf.eth0.forwarding=0", "", (
        "node1 has net.ipv4.conf.eth0.forwarding = 0 instead of 1",)),
    "no answers to pings": Break("web-1", "sysctl -qw net.ipv4.icmp_echo_ignore_all=1", "", (
        "web-1 has net.ipv4.icmp_echo_ignore_all = 1 instead of 0", "it comes in at web-1's eth0")),
    # Links
    "a pod's link": Break("web-2", "ip link set eth0 down", "", ("web-2's eth0 is down",)),
    "a pod's link on its node": Break("node2", "ip link set @WEB2 down", "", (" is down: ip -n nslab.evidence.node2",)),
    "tunnel down": Break("node2", "ip link set vxlan.calico down", "", ("node2's vxlan.calico is down",)),
    "a node's link": Break("node2", "ip link set eth0 down", "", ("node2's eth0 is down",)),
    "port down": Break("switch", "ip link set node2 down", "", ("switch's node2 is down",)),
    "port unplugged": Break("switch", "ip link set node2 nomaster", "", ("switch has no plug of node2 in bridge br0",)),
    "port blocked": Break("switch", "bridge link set dev node2 state 0", "", (
        "switch's node2 has state 0 instead of 3",)),
    "a node's MTU": Break("node2", "ip link set eth0 mtu 1300", "", ("has MTU 1300 instead of 1500",)),
    "a pod's MTU": Break("web-2", "ip link set eth0 mtu 1000", "", ("has MTU 1000 instead of 1450",)),
    "tunnel's MTU": Break("node2", "ip link set vxlan.calico mtu 1200", "", (
        "node2's tunnel vxlan.calico has MTU 1200 instead of 1450", "too big for its next link")),
    "slow queue": Break(
        "node2", "tc qdisc add dev @BOX root tbf rate 8bit burst 10 limit 10", "tc qdisc del dev @BOX root",
        ("node2 has something that is not the lab's: qdisc tbf",)),
    # Addresses
    "a pod's address": Break("web-2", "ip addr del WEB2/32 dev eth0", "", ("web-2 has no address 20.96.0.65/32",)),
    "a node's address": Break("node2", "ip addr del 192.168.59.23/24 dev eth0", "", (
        "node2 has no address 192.168.59.23/24",), sources=("box", "web-1")),
    "an address twice": Break("box", "ip addr add WEB2/32 dev eth0", "", ("box has an address 20.96.0.65/32 on eth0",)),
    "an address twice, and the route": Break(
        "node2", "ip route replace WEB2 dev @BOX; ip -n nslab.evidence.box addr add WEB2/32 dev eth0", "",
        ("node2's route to 20.96.0.65/32 leads through",)),
    "a node's address twice": Break("client", "ip addr add 192.168.59.23/32 dev eth0", "", (
        "client has an address 192.168.59.23/32 on eth0",), sources=("client", "web-2", "node2")),
    # Processes
    "server that hangs": Break(
        "web-2", "kill -STOP $(ss -Htlnp 'sport = :8080' | grep -o 'pid=[0-9]*' | cut -d= -f2)",
        "kill -CONT $(ss -Htlnp 'sport = :8080' | grep -o 'pid=[0-9]*' | cut -d= -f2)",
        ("web-2's server on port 8080 takes connections, and hangs",)),
}  # fmt: skip


def said(found: Probed) -> list[str]:
    """Every explanation, once."""
    return list(dict.fromkeys((*found.explanations.values(), *found.reasons.values())))


TRIED = [name for number, name in enumerate(BREAKS) if number % 5 == 0 or os.environ.get("NSLAB_SLOW")]
"""One in five; with NSLAB_SLOW set, all."""


@pytest.mark.parametrize("name", TRIED)
def test_what_is_broken_is_found_by_evidence(lab: Lab, name: str) -> None:
    broken = BREAKS[name]
    run(lab, broken.host, broken.line)
    try:
        found = probe(lab.name, broken.sources)
    finally:
        if broken.undo:
            run(lab, broken.host, broken.undo)
        up(lab)
    words = said(found)
    assert not found.good
    for sentence in broken.says:
        assert any(sentence in one for one in words), words
    _nothing_is_blamed_unseen(found, words, proxy=broken.proxy)
    again = probe(lab.name, broken.sources)
    assert (again.good, said(again)) == (True, []), "what was repaired is right at once"


def _nothing_is_blamed_unseen(found: Probed, words: list[str], *, proxy: bool) -> None:
    assert not any("own doing" in one or "says nothing; is its server" in one for one in words), words
    if found.drift.plan or found.drift.in_the_way:
        assert not any("nothing of the lab differs on the way (" in one for one in words), words
    verdicts = [verdict(square) for square in squares(found.survey.places, found.results, found.calls)]
    if not proxy:
        assert not any("look at kube-proxy" in one or "then at kube-proxy" in one for one in verdicts), verdicts


def test_a_missing_route_does_not_land_in_the_row_of_the_same_node(lab: Lab) -> None:
    run(lab, "node2", "ip route del 20.96.0.0/26")
    try:
        found = probe(lab.name)
    finally:
        up(lab)
    rows = four_cells(found.survey.places, found.results, found.calls)
    assert [row for row in rows if row.startswith("same node") and "FAIL" in row] == []
    assert sum(row.startswith("other node") and "FAIL" in row for row in rows) == 2


def test_an_endpoint_outside_that_refuses(tmp_path: Path) -> None:
    made = written(tmp_path, OUTSIDE, "evidence2")
    up(made)
    try:
        found = probe(made.name)
        assert said(found) == [
            "packets arrive at 192.168.59.10 (client), where nothing listens on port 5432",
        ]
        assert {call.service for call in found.reasons} == {"default/db"}
    finally:
        down(made.name)


def test_after_a_repair_no_old_connection_is_translated(lab: Lab) -> None:
    """Connections that were made while rules were missing stay in conntrack for up to two minutes."""
    run(lab, "node2", "iptables -t nat -F KUBE-SERVICES")
    assert not probe(lab.name, ["web-2", "box"]).good
    up(lab)
    assert drift_of(lab.name).plan == ()
    for _ in range(10):
        assert said(probe(lab.name, ["web-2", "box"])) == []


@pytest.mark.skipif(not os.environ.get("NSLAB_SLOW"), reason="a hundred pods, probed twenty times: NSLAB_SLOW=1")
def test_a_healthy_lab_of_a_hundred_pods_with_dns_is_right_each_time(tmp_path: Path) -> None:
    file = tmp_path / "crowd.yaml"
    pods = (
        POD.replace("NAME", f"p{number}").replace("APP", "web" if number < 3 else "x").replace("  nodeName: NODE\n", "")
        for number in range(100)
    )
    text = LAB.replace("evidence", "crowd").replace("  clients:", "  dns: {address: 10.96.0.10}\n  clients:")
    file.write_text(text + "".join(pods) + SERVICE)
    up(assign_addresses(load(file)))
    try:
        found = [probe("crowd") for _ in range(20)]
    finally:
        down("crowd")
    assert [said(one) for one in found if not one.good] == []
    assert any(call.call.name for call in found[0].calls), "names are asked, too"
