"""Pods with hostNetwork, and whom servers on nodes and in pods see, on nodes of one subnet and of two."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import pytest

from nslab.cli import complete
from nslab.linux.netns import Namespaces
from nslab.pytest_plugin import LabRequest
from tests.kernel.labkit import kill, nslab, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nslab.pytest_plugin.running import RunningLab

pytestmark = pytest.mark.root

SERVER = "{name: c, image: agnhost, args: [netexec, --http-port=HTTP, --udp-port=UDP], ports: [PORTS]}"
POD = """
---
apiVersion: v1
kind: Pod
metadata: {name: NAME, labels: {app: NAME}}
spec: {nodeName: NODE, SPEC, containers: [SERVER]}
"""
SERVICE = """
---
apiVersion: v1
kind: Service
metadata: {name: NAME}
spec: {type: NodePort, selector: {app: NAME}, ports: [{port: 80, targetPort: 8080}]}
"""


def filled(text: str, **words: str) -> str:
    """A text with words for its own."""
    for word, value in words.items():
        text = text.replace(word, value)
    return text


def server(port: int, ports: str) -> str:
    return filled(SERVER, HTTP=f"{port}", UDP=f"{port + 1}", PORTS=ports or f"{{containerPort: {port}}}")


def pod(name: str, node: str, spec: str = "restartPolicy: Always", ports: str = "", port: int = 8080) -> str:
    return filled(
        POD, NAME=name, NODE=node, SPEC=f"{spec}, terminationGracePeriodSeconds: 0", SERVER=server(port, ports)
    )


LAB = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: hostnet}
spec:
  networks: {nodes: [192.168.59.0/24, 192.168.60.0/24]}
  cni: {plugin: calico, encapsulation: IPIPCrossSubnet}
  nodes:
  - {name: n1, address: 192.168.59.22, podCIDR: 20.96.0.0/26}
  - {name: n2, address: 192.168.59.23, podCIDR: 20.96.0.64/26}
  - {name: n3, address: 192.168.60.22, podCIDR: 20.96.0.128/26}
  routers: [{name: router, addresses: [192.168.59.1, 192.168.60.1]}]
  clients: [{name: client, address: 192.168.59.10}]
  dns: {address: 10.96.0.10}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      hostNetwork: true
      terminationGracePeriodSeconds: 0
      hostAliases: [{ip: 10.1.2.3, hostnames: [a.test, b.test]}]
      containers: [SERVER]
""".replace("SERVER", server(8080, ""))
AT_NODE = "{containerPort: 8080, hostPort: 8088, hostIP: 192.168.59.22}"
AT_HOME = "{containerPort: 8080, hostPort: 8088, hostIP: 127.0.0.1}"
PODS = "".join(
    (
        pod("near", "n1"),
        pod("beside", "n2"),
        pod("far", "n3"),
        pod("mapped", "n1", ports=AT_NODE),
        pod("loopback", "n1", ports=AT_HOME),
    )
)
OWN = SERVICE.replace("metadata: {name: NAME}", "metadata: {name: own}").replace("NAME", "agent")
OWN = OWN.replace("type: NodePort", "internalTrafficPolicy: Local")
TEXT = LAB + PODS + "".join(SERVICE.replace("NAME", name) for name in ("agent", "near", "beside", "far")) + OWN


@pytest.fixture(scope="module")
def hosts(_module_labs: Callable[[LabRequest], RunningLab]) -> RunningLab:
    return _module_labs(LabRequest(TEXT, scope="module"))


@pytest.fixture
def own(hosts: RunningLab) -> Iterator[RunningLab]:
    yield hosts
    hosts.up(TEXT)
    assert hosts.diff() == []


def agent(lab: RunningLab, node: str) -> str:
    """The name of a node's pod of the DaemonSet."""
    return next(one.name for one in lab.desired.pods if one.host_network and one.node == node)


def seen(lab: RunningLab, host: str, address: str, port: int = 8080) -> str:
    """The client's address that the server at an address sees of a host."""
    return lab.sh(host, f"curl -sS -m 5 http://{address}:{port}/clientip").rpartition(":")[0]


NODES = {"n1": "192.168.59.22", "n2": "192.168.59.23", "n3": "192.168.60.22"}
TUNNELS = {"n1": "20.96.0.0", "n3": "20.96.0.128"}


def test_whom_servers_on_nodes_and_in_pods_see(hosts: RunningLab) -> None:
    pods = {name: str(hosts.pod(name).address) for name in ("near", "beside", "far")}
    services = {name: str(hosts.service(name).cluster_ip) for name in ("agent", *pods)}
    node_ports = {name: hosts.service(name).ports[0].node_port for name in pods}
    own = seen(hosts, "n1", pods["near"])
    assert own in (NODES["n1"], TUNNELS["n1"]), "the kernel's choice: no cali has an address"
    cases = {
        ("near", NODES["n1"], 8080): pods["near"],
        ("near", NODES["n2"], 8080): NODES["n1"],
        ("near", NODES["n3"], 8080): NODES["n1"],
        ("n1", NODES["n2"], 8080): NODES["n1"],
        ("n1", pods["beside"], 8080): NODES["n1"],
        ("n1", pods["far"], 8080): TUNNELS["n1"],
        ("n1", services["beside"], 80): NODES["n1"],
        ("n1", services["far"], 80): TUNNELS["n1"],
        ("client", NODES["n1"], node_ports["near"]): own,
        ("client", NODES["n1"], node_ports["beside"]): NODES["n1"],
        ("client", NODES["n1"], node_ports["far"]): TUNNELS["n1"],
        ("client", NODES["n3"], node_ports["near"]): TUNNELS["n3"],
        ("client", NODES["n1"], 8080): "192.168.59.10",
        ("client", NODES["n1"], 8088): "192.168.59.10",
        ("n2", NODES["n1"], 8088): NODES["n2"],
    }
    assert {case: seen(hosts, *case) for case in cases} == cases


def test_probe_finds_all_right_and_diff_nothing(hosts: RunningLab) -> None:
    hosts.probe()
    assert hosts.diff() == []


def test_its_containers_are_in_the_nodes_network(hosts: RunningLab) -> None:
    name = agent(hosts, "n2")
    link, host = "readlink /proc/self/ns/net; hostname; cat /etc/hostname", hosts.pod(name)
    assert host.run("sh", "-c", link).stdout.splitlines() == [
        *hosts.sh("n2", "readlink /proc/self/ns/net").split(),
        "n2",
        "n2",
    ]
    assert host.run("cat", "/etc/hosts").stdout == (
        "# Kubernetes-managed hosts file (host network).\n"
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n192.168.59.23\tn2\n"
        "\n# Entries added by HostAliases.\n10.1.2.3\ta.test\tb.test\n"
    )
    assert host.run("cat", "/etc/resolv.conf").stdout == "", "ClusterFirst is Default there"
    assert hosts.sh("n2", "curl -sS -m 5 http://127.0.0.1:8080/hostname") == "n2"
    assert f"nslab.{hosts.name}.{name}" not in hosts.sh("n2", "ip netns")
    assert "cali" not in hosts.sh("n2", "ip -o link | grep -v @if | cat")


def test_a_pod_with_its_own_network_has_its_own_files(hosts: RunningLab) -> None:
    near = hosts.pod("near")
    assert near.run("cat", "/etc/hosts").stdout == (
        "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
        "fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n"
        f"{near.address}\tnear\n"
    )
    assert near.run("cat", "/etc/resolv.conf").stdout == (
        "search default.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n"
    )


def test_verbs_take_it_for_a_pod(hosts: RunningLab) -> None:
    name = agent(hosts, "n1")
    (row,) = [one for one in json.loads(nslab("ps", hosts.name, "-o", "json").stdout) if one["name"] == name]
    assert (row["ip"], row["node"], row["status"]) == (NODES["n1"], "n1", "Running")
    assert "Started HTTP server" in nslab("logs", f"{hosts.name}/{name}").stdout
    assert nslab("inspect", f"{hosts.name}/{name}").stdout == nslab("inspect", f"{hosts.name}/n1").stdout
    assert f"{hosts.name}/{name}" in complete.hosts(f"{hosts.name}/")
    assert name in nslab("exec", f"{hosts.name}/nobody", "--", "true").stderr
    (waiting,) = nslab("policy", hosts.name, name).stderr.splitlines()
    assert waiting.endswith("has its node's network (hostNetwork), to which no NetworkPolicy applies")


def test_a_trace_from_it_or_to_it_is_the_nodes(hosts: RunningLab) -> None:
    here, there = agent(hosts, "n1"), agent(hosts, "n2")
    forth, back = hosts.trace(here, "beside"), hosts.trace("near", there)
    assert [(one.source, one.end) for one in (forth, back)] == [("n1", "delivered"), ("near", "delivered")]
    assert back.target.port == 8080


def test_a_node_that_asks_itself_through_a_service_goes_the_predicted_way(hosts: RunningLab) -> None:
    found = hosts.trace("n1", "own")
    assert (found.end, found.deviation) == ("delivered", "")
    assert {hop.host for hop in found.hops} == {"n1"}


def test_a_host_port_of_one_address_is_another_pods_at_another(hosts: RunningLab) -> None:
    assert hosts.sh("client", f"curl -sS -m 5 http://{NODES['n1']}:8088/hostname") == "mapped"
    assert hosts.sh("n1", "curl -sS -m 5 http://127.0.0.1:8088/hostname") == "loopback"


def test_policies_do_not_select_it(own: RunningLab) -> None:
    policy = "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: deny}\n"
    own.apply(f"{policy}spec: {{podSelector: {{}}}}\n")
    until(lambda: not own.pod("near").connect(str(own.pod("beside").address), 8080, timeout=0.5))
    assert own.pod("near").connect(NODES["n2"], 8080)
    assert own.node("n1").connect(str(own.pod("near").address), 8080), "the node, and who has its network"
    own.probe()


def test_a_stand_in_names_its_pod_and_not_the_node_whose_hostname_it_has(own: RunningLab) -> None:
    image = "{name: c, image: nginx, ports: [{containerPort: 9090}]}"
    spec = "hostNetwork: true, terminationGracePeriodSeconds: 0"
    own.up(TEXT + filled(POD, NAME="proxy", NODE="n1", SPEC=spec, SERVER=image))
    said = own.sh("client", f"curl -sS -m 5 http://{NODES['n1']}:9090/")
    assert said.strip() == "pod proxy, container c, image nginx"


def test_killed_it_is_restarted_and_its_nodes_process_takes_it_over(own: RunningLab) -> None:
    role = f"{agent(own, 'n3')} container/c"
    before = own.processes()
    kill(before[role])
    until(lambda: own.processes().get(role) not in (None, before[role]))
    until(lambda: own.sh("n3", "curl -sS -m 5 http://127.0.0.1:8080/hostname || true") == "n3")
    before = own.processes()
    kill(before["n3 node"])
    own.up(TEXT)
    after = own.processes()
    assert (after[role], after["n3 node"] != before["n3 node"]) == (before[role], True)


def test_a_pod_moves_to_its_nodes_network_and_back(own: RunningLab) -> None:
    own.up(TEXT.replace(pod("beside", "n2"), pod("beside", "n2", "hostNetwork: true", port=8082)))
    assert str(own.pod("beside").address) == NODES["n2"]
    assert own.sh("client", f"curl -sS -m 5 http://{NODES['n2']}:8082/hostname") == "n2"
    assert own.diff() == []


def test_a_pod_waits_for_its_port_until_others_have_gone(own: RunningLab) -> None:
    rival = pod("rival", "n1", ports="{containerPort: 8080, hostPort: 8088}")
    with pytest.raises(
        AssertionError, match=r"rival in default is Pending: 0/3 nodes are available: 1 node\(s\) didn't have"
    ):
        own.apply(rival.replace("nodeName: n1", "nodeSelector: {kubernetes.io/hostname: n1}"))
    own.delete("pod/mapped", "pod/loopback")
    until(lambda: own.sh("client", f"curl -sS -m 5 http://{NODES['n1']}:8088/hostname || true") == "rival")
    assert own.diff() == []


def test_a_new_udp_host_port_forgets_what_conntrack_knew(own: RunningLab) -> None:
    with Namespaces() as spaces:
        spaces.enter(own.client("client").netns)
        asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with asking:
        asking.connect((NODES["n1"], 5353))
        asking.settimeout(0.5)

        def answer() -> bytes:
            try:
                asking.send(b"hostname")
                return asking.recv(100)
            except OSError:
                return b""

        assert answer() == b""
        assert "dport=5353" in own.sh("n1", "conntrack -L -p udp 2>/dev/null")
        own.apply(pod("late", "n1", ports="{containerPort: 8081, hostPort: 5353, protocol: UDP}"))
        until(lambda: answer() == b"late")
