"""The prober on the real kernel: whole labs are right, and of a broken one exactly the broken cells are wrong."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nslab.admission.load import load
from nslab.app.drift import drift_of
from nslab.lab.dump import dump
from nslab.lab.find import find
from nslab.lab.types import Encapsulation, ProxyMode
from nslab.linux.netns import Namespaces
from nslab.linux.prober.hosts import ask
from nslab.objects.names import cali, netns
from nslab.probes import Kind, Outcome, Survey, survey
from nslab.probes.evidence import question
from nslab.trace.conversation import Conversations
from nslab.trace.explain import explain
from nslab.views.matrix import cells, seen
from tests.kernel.labkit import nslab, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from nslab.probes import Result
    from nslab.pytest_plugin.running import RunningLab

pytestmark = pytest.mark.root

POD_A, POD_C = cali("default", "pod-a"), cali("default", "pod-c")


def asked(lab: RunningLab, sources: tuple[str, ...] = (), targets: tuple[str, ...] = ()) -> tuple[Survey, list[Result]]:
    """Who is asked for, and what came of it."""
    with Namespaces() as spaces:
        now = drift_of(lab.name)
        chosen = survey(now.lab, now.host, sources, targets)
        return chosen, ask(spaces, lab.name, chosen.places, chosen.probes)


def wrong(lab: RunningLab) -> dict[tuple[str, str], str]:
    """Every cell that is not as it should be, each with the explanation of its first wrong answer."""
    _, results = asked(lab)
    now = drift_of(lab.name)
    conversations = Conversations(now.lab.name, now.want)
    shown: dict[tuple[str, str], str] = {}
    for result in results:
        if result.wrong:
            journeys = conversations.journeys(question(result.probe))
            needs = conversations.needs(journeys, result.probe.port)
            shown.setdefault(result.probe.pair, explain(result, needs, now.plan, now.unmanaged).sentence)
    words = cells(results)
    return {pair: f"{words[pair].removeprefix('FAIL ')} | {why}" for pair, why in shown.items()}


def at(lab: RunningLab, host: str, command: str) -> None:
    """A command in the network of a host; with `@` in it, which stands for the namespace's name, outside of it."""
    if "@" in command:
        subprocess.run(command.replace("@", netns(lab.name, host)).split(), check=True, capture_output=True)
    else:
        lab.sh(host, command)


@pytest.fixture
def bring_up(make_lab: Callable[..., RunningLab]) -> Callable[..., RunningLab]:
    """Brings up hosts alone: Services have tests of their own, and kube-dns' pod is one more host."""

    def up(shipped: str, encapsulation: Encapsulation | None = None, **spec: Any) -> RunningLab:
        lab = load(find(shipped), encapsulation)
        alone = [pod for pod in lab.pods if pod.namespace == "default"]
        for pod in alone:
            pod.document["spec"] |= spec
        lab = replace(lab, proxy_mode=ProxyMode.NONE, dns_address=None, services=(), pods=tuple(alone))
        made: RunningLab = make_lab(dump(lab))
        return made

    return up


@pytest.mark.parametrize("encapsulation", list(Encapsulation), ids=str)
def test_calico_is_right_in_every_encapsulation(
    bring_up: Callable[..., RunningLab], encapsulation: Encapsulation
) -> None:
    running = bring_up("calico-two-node", encapsulation)
    assert wrong(running) == {}


def test_kubenet_is_right_and_bridges_speak_as_their_gateway(bring_up: Callable[..., RunningLab]) -> None:
    running = bring_up("kubenet-two-node")
    chosen, results = asked(running)
    assert [result for result in results if result.wrong] == []
    pods, nodes = seen(chosen.places, results)
    assert (
        pods == "pods are seen as themselves by all pods and their own node; as their node by other nodes and clients"
    )
    assert nodes.startswith(
        "nodes are seen as 20.96.1.1 or 20.96.2.1 by their own pods; as themselves by pods of other"
    )


def test_containers_of_one_pod_are_told_apart_by_their_ports(bring_up: Callable[..., RunningLab]) -> None:
    running = bring_up("pause-pod")
    _, results = asked(running, ("pod-1",), ("pod-1",))
    assert [(str(r.probe), r.outcome, str(r.seen_from)) for r in results] == [
        ("pod-1 -> pod-1 tcp 127.0.0.1:8000", Outcome.REACHED, "127.0.0.1"),
        ("pod-1 -> pod-1 tcp 127.0.0.1:8080", Outcome.REACHED, "127.0.0.1"),
    ]


def test_whole_packets_pass_and_one_byte_more_does_not(bring_up: Callable[..., RunningLab]) -> None:
    running = bring_up("calico-two-node", Encapsulation.VXLAN)
    _, results = asked(running, ("pod-a",), ("pod-c",))
    assert [(r.probe.size, r.outcome) for r in results if r.probe.kind is Kind.MTU] == [
        (1450, Outcome.REACHED),
        (1451, Outcome.TOO_BIG),
    ]


def test_nothing_is_left_in_the_namespaces(bring_up: Callable[..., RunningLab]) -> None:
    running = bring_up("calico-two-node", Encapsulation.VXLAN)
    asked(running)
    listed = subprocess.run(
        ["ip", "netns", "exec", f"nslab.{running.name}.client", "ss", "-Htuwan"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert listed.stdout == ""


NODE_1 = {"pod-a", "pod-b", "node1"}
NODE_2 = {"pod-c", "pod-d", "node2"}
PODS = {"pod-a", "pod-b", "pod-c", "pod-d"}


def between(one: set[str], two: set[str]) -> set[tuple[str, str]]:
    return {pair for a in one for b in two for pair in ((a, b), (b, a))}


@pytest.mark.parametrize(
    ("encapsulation", "host", "breaks", "cells", "says"),
    [
        pytest.param(
            Encapsulation.VXLAN, "node2", ["ip -n @ route del 20.111.156.0/26"],
            # Pods of node1 come to node2 itself as node1; node1 comes to node2's pods as its tunnel's address.
            between(PODS & NODE_1, PODS & NODE_2) | {("node2", "pod-a"), ("node2", "pod-b")}
            | {("node1", "pod-c"), ("node1", "pod-d")},
            "node2 has no route to 20.111.156.0/26 (Felix's): ip -n @ route add 20.111.156.0/26 via 20.111.156.0 "
            "dev vxlan.calico onlink",
            id="block route missing",
        ),
        pytest.param(
            Encapsulation.NONE, "node2", ["ip -n @ route replace 20.111.156.0/26 via 192.168.59.99 proto bird"],
            between(PODS & NODE_1, PODS & NODE_2) | {("node2", "pod-a"), ("node2", "pod-b")},
            "node2's route to 20.111.156.0/26 leads via 192.168.59.99 through eth0 instead of via 192.168.59.22 "
            "through eth0 (BIRD's): ip -n @ route replace 20.111.156.0/26 via 192.168.59.22 dev eth0 proto bird",
            id="wrong next hop",
        ),
        pytest.param(
            Encapsulation.VXLAN, "pod-a", ["ip -n @ route del default"],
            between({"pod-a"}, PODS - {"pod-a"} | {"node1", "node2"}) | {("pod-a", "client")},
            "pod-a has no default route (the Calico CNI plugin's): ip -n @ route add default via 169.254.1.1 dev eth0",
            id="pod without default route",
        ),
        pytest.param(
            Encapsulation.VXLAN, "node1", [f"sysctl -w net.ipv4.conf.{POD_A}.proxy_arp=0"],
            between({"pod-a"}, PODS - {"pod-a"} | {"node1", "node2"}) | {("pod-a", "client")},
            f"node1 has net.ipv4.conf.{POD_A}.proxy_arp = 0 instead of 1 (the Calico CNI plugin's): ip netns exec @ "
            f"sysctl -qw net.ipv4.conf.{POD_A}.proxy_arp=1",
            id="no proxy ARP",
        ),
        pytest.param(
            Encapsulation.VXLAN, "node2", [f"ip -n @ link set {POD_C} down"],
            between({"pod-c"}, PODS - {"pod-c"} | {"node1", "node2"}) | {("pod-c", "client")},
            f"node2's {POD_C} is down: ip -n @ link set {POD_C} up",
            id="cali link down",
        ),
        pytest.param(
            Encapsulation.VXLAN, "node2", ["bridge -n @ fdb del 66:f9:37:c3:7e:94 dev vxlan.calico dst 192.168.59.22"],
            between(PODS & NODE_1, PODS & NODE_2) | {("node2", "pod-a"), ("node2", "pod-b")}
            | {("node1", "pod-c"), ("node1", "pod-d")},
            "node2 has no FDB entry of vxlan.calico for 66:f9:37:c3:7e:94 (behind 192.168.59.22) (Felix's): "
            "bridge -n @ fdb add 66:f9:37:c3:7e:94 dev vxlan.calico dst 192.168.59.22 self permanent",
            id="FDB entry missing",
        ),
        pytest.param(
            Encapsulation.VXLAN, "node1", ["sysctl -w net.ipv4.ip_forward=0"],
            # Proxy ARP is a router's: the node does not even answer its own pods.
            between({"pod-a"}, {"pod-b"}) | between({"pod-a", "pod-b"}, NODE_2 | {"node1"})
            | {("pod-a", "client"), ("pod-b", "client")},
            "node1 has net.ipv4.ip_forward = 0 instead of 1 (Felix's): ip netns exec @ sysctl -qw "
            "net.ipv4.ip_forward=1",
            id="node does not forward",
        ),
    ],
)  # fmt: skip
def test_one_broken_thing_is_found(
    bring_up: Callable[..., RunningLab],
    encapsulation: Encapsulation,
    host: str,
    breaks: list[str],
    cells: set[tuple[str, str]],
    says: str,
) -> None:
    running = bring_up("calico-two-node", encapsulation)
    for command in breaks:
        at(running, host, command)
    if host == "node1" and "proxy_arp" in breaks[0]:
        at(running, "pod-a", "ip -n @ neigh flush all")
    found = wrong(running)
    assert set(found) == cells
    expected = says.replace("@", f"nslab.{running.name}.{host}")
    assert {why.partition(" | ")[2].partition(" (")[0] for why in found.values()} == {expected.partition(" (")[0]}
    assert all(expected in why for why in found.values())


@pytest.mark.parametrize(
    ("encapsulation", "host", "command", "pair", "says"),
    [
        pytest.param(
            Encapsulation.NONE, "node1", "ip -n @ link set eth0 mtu 1400", ("pod-a", "pod-c"),
            "mtu too big | switch's cable node1 to node1's eth0 has MTU 1400 instead of 1500", id="MTU",
        ),
        pytest.param(
            Encapsulation.IPIP, "node1", "ip -n @ link set tunl0 down", ("pod-c", "pod-a"),
            "timeout | node1's tunl0 is down: ip -n @ link set tunl0 up", id="tunnel down",
        ),
        pytest.param(
            Encapsulation.IPIP, "node2", "ip -n @ addr add 20.111.156.7/32 dev tunl0", ("pod-c", "pod-b"),
            "answered by node2; tcp,udp refused | node2 has an address 20.111.156.7/32 on tunl0 that is not the lab's",
            id="address used twice",
        ),
        pytest.param(
            Encapsulation.VXLAN, "node2", "ip -n @ route add 20.111.156.7 via 192.168.59.99", ("pod-c", "pod-b"),
            "node2 has a route to 20.111.156.7/32 via 192.168.59.99 through eth0 that is not the lab's: ip -n @ route",
            id="route too many",
        ),
        pytest.param(
            Encapsulation.VXLAN, "pod-a", "ip -n @ link set eth0 down", ("pod-b", "pod-a"),
            "pod-a's eth0 is down: ip -n @ link set eth0 up", id="pod's link down",
        ),
        pytest.param(
            Encapsulation.VXLAN, "node1", "ip -n @ route del 20.111.156.6", ("node1", "pod-a"),
            "node1 has no route to 20.111.156.6/32 (Felix's): ip -n @ route add 20.111.156.6", id="only the blackhole",
        ),
        pytest.param(
            Encapsulation.VXLAN, "node2", "ip -n @ link del vxlan.calico", ("pod-a", "pod-c"),
            "node2 has no tunnel vxlan.calico (Felix's): ip -n @ link add vxlan.calico", id="no tunnel",
        ),
        pytest.param(
            Encapsulation.VXLAN, "node2", "ip netns del @", ("pod-a", "node2"),
            "not there | there is no node2: ip netns add @", id="node gone",
        ),
    ],
)  # fmt: skip
def test_a_cell_is_explained(
    bring_up: Callable[..., RunningLab],
    encapsulation: Encapsulation,
    host: str,
    command: str,
    pair: tuple[str, str],
    says: str,
) -> None:
    running = bring_up("calico-two-node", encapsulation)
    at(running, host, command)
    assert says.replace("@", f"nslab.{running.name}.{host}") in wrong(running)[pair]


def test_without_masquerading_pods_have_no_way_back_from_outside(bring_up: Callable[..., RunningLab]) -> None:
    running = bring_up("calico-two-node", Encapsulation.NONE)
    at(
        running,
        "node1",
        "iptables -t nat -D POSTROUTING -m comment --comment cali:0i8pjzKKPyA34aQD -j cali-POSTROUTING",
    )
    found = wrong(running)
    assert set(found) == {(pod, other) for pod in ("pod-a", "pod-b") for other in ("client", "node2")}
    # The other node knows the way to pods, and answers; it is only that it should not see their addresses.
    assert found["pod-a", "node2"].startswith("seen as 20.111.156.6 | node1 has no rule in POSTROUTING (table nat)")
    assert all("-j cali-POSTROUTING" in why and "iptables -t nat -A POSTROUTING" in why for why in found.values())


def test_a_strangers_rule_is_named_when_nothing_of_ours_differs(bring_up: Callable[..., RunningLab]) -> None:
    running = bring_up("calico-two-node", Encapsulation.NONE)
    at(running, "node2", "iptables -I FORWARD -p udp -j DROP")
    found = wrong(running)
    assert set(found) == between({"pod-c", "pod-d"}, PODS & NODE_1 | {"node1"}) | between({"pod-c"}, {"pod-d"}) | {
        ("pod-c", "node1"), ("pod-d", "node1"), ("pod-c", "client"), ("pod-d", "client"),
    }  # fmt: skip
    said = (
        "udp timeout | nothing of the lab differs on the way, but node2 has something that is not the lab's: iptables"
    )
    assert all(said in why for why in found.values())


def test_a_policy_is_named(bring_up: Callable[..., RunningLab]) -> None:
    running = bring_up("calico-two-node", Encapsulation.NONE)
    at(running, "node2", "iptables -P INPUT DROP")
    found = wrong(running)
    assert ("node1", "node2") in found
    said = "node2's chain INPUT (table filter) has policy DROP instead of ACCEPT: ip netns exec"
    assert all(said in why for why in found.values())


def test_a_client_that_gets_through_is_wrong(bring_up: Callable[..., RunningLab]) -> None:
    running = bring_up("calico-two-node", Encapsulation.NONE)
    at(running, "client", "ip -n @ route add 20.111.156.0/26 via 192.168.59.22")
    found = wrong(running)
    assert set(found) == {("client", "pod-a"), ("client", "pod-b")}
    assert all("reached | client has a route to 20.111.156.0/26" in why for why in found.values())


def test_a_pod_that_came_to_its_end_is_no_failing_cell(bring_up: Callable[..., RunningLab]) -> None:
    running = bring_up("calico-two-node", Encapsulation.NONE, restartPolicy="Never")
    # What listens in the pod's namespace, and is not its pause process.
    pids = subprocess.run(
        ["ip", "netns", "pids", f"nslab.{running.name}.pod-b"], capture_output=True, text=True, check=True
    ).stdout.split()
    for pid in pids:
        if b"container/app" in Path(f"/proc/{pid}/environ").read_bytes():
            os.kill(int(pid), 9)
    until(lambda: "pod-b" not in {place.name for place in asked(running, ("pod-a",), ("pod-c",))[0].places})
    assert wrong(running) == {}


def test_a_lab_with_more_neighbours_than_the_kernel_has_room_for(make_lab: Callable[..., RunningLab]) -> None:
    """One table of 1,024 serves all namespaces: asked all at once, half of this lab would not be reached."""
    nodes = "".join(f"  - {{name: n{number}}}\n" for number in range(10))
    pods = "".join(
        f"---\napiVersion: v1\nkind: Pod\nmetadata: {{name: p{number}}}\n"
        "spec: {containers: [{name: app, image: agnhost}]}\n"
        for number in range(250)
    )
    lab = make_lab(
        "apiVersion: nslab/v1\nkind: Lab\nmetadata: {name: big}\n"
        f"spec:\n  cni: {{plugin: kubenet}}\n  proxy: {{mode: none}}\n  nodes:\n{nodes}{pods}"
    )
    done = nslab("probe", lab.name)
    assert done.returncode == 0, done.stdout
