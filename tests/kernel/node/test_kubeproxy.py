"""A node's kube-proxy: rules follow what control tells, outlive whoever is killed, and nothing is lost."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from nodebench import Bench, alive, sh, until

from nslab.linux.processes.control import ControlClient
from nslab.objects import process as objects
from nslab.objects.plan import Add, Remove
from nslab.objects.process import KubeProxy
from nslab.proxy.model import Endpoint, Port, Proxy, ServiceInfo, to_json
from nslab.proxy.names import nft_name, port_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

pytestmark = pytest.mark.root

A, B = Endpoint("20.96.0.2", 8080, "node1", pod="default/a"), Endpoint("20.96.0.3", 8080, "node2", pod="default/b")
WEB = ServiceInfo("default", "web", "10.96.0.1", (Port("", 80, node_port=30080, endpoints=(A, B)),), "NodePort")
OTHER = ServiceInfo("default", "other", "10.96.0.2", (Port("", 80, endpoints=(B,)),))


class Lab:
    """Control and kube-proxies, and what nodes' kernels say."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.run = bench, bench.agents.run
        bench.add_ns("control")
        self.control = objects.Control(bench.ns("control"), bench.ns("control"))
        self.pids = {"control": self.run([Add(self.control)])[0]}
        self.proxies: dict[str, KubeProxy] = {}

    def start(self, node: str = "node1", **settings: Any) -> None:
        """A node with its kube-proxy."""
        if node not in self.bench.hosts:
            self.bench.node(node)
        ns = self.bench.ns(node)
        proxy = Proxy(node, ("192.168.59.22",), cluster_cidr="20.96.0.0/12", **settings)
        self.proxies[node] = KubeProxy(ns, ns, json.dumps(to_json(proxy)))
        self.pids[node] = self.run([Add(self.proxies[node])])[0]

    def put(self, *services: ServiceInfo, removed: Iterable[str] = (), whole: bool = True) -> None:
        """Put Services; every kube-proxy must follow."""
        with ControlClient(self.bench.lab) as line:
            assert line.put(services, removed, whole=whole, expect={"kube-proxy": [*self.proxies]}) == ()
            assert [report["error"] for report in line.get()["proxies"].values()] == [""] * len(self.proxies)

    def kill(self, who: str) -> None:
        os.kill(self.pids[who], signal.SIGKILL)
        until(lambda: not alive(self.pids[who]))

    def sh(self, command: str, node: str = "node1") -> str:
        return sh(f"ip netns exec {self.bench.ns(node)} {command}")

    def rules(self, node: str = "node1") -> list[str]:
        """What iptables-save says, without what is never the same."""
        lines = self.sh("iptables-save", node).splitlines()
        return sorted(line.split(" [")[0] for line in lines if line[0] != "#")

    def leads_to(self, *pods: str, node: str = "node1") -> bool:
        """Whether rules lead to these addresses and no others."""
        found = {line.rpartition(" ")[2].split(":")[0] for line in self.rules(node) if "--to-destination" in line}
        return found == {*pods}

    def reports(self, node: str, **pods: bool) -> None:
        """What the kubelet of a node says."""
        with ControlClient(self.bench.lab) as line:
            known = {f"default/{name}": {"ready": ready} for name, ready in pods.items()}
            line._ask({"op": "status", "node": node, "pods": known})


@pytest.fixture
def lab(bench: Bench) -> Lab:
    return Lab(bench)


def test_is_found_by_its_mark(lab: Lab) -> None:
    lab.start()
    record = lab.bench.record("node1", "kube-proxy")
    assert (record.pid, record.name) == (lab.pids["node1"], "kube-proxy")


def test_nothing_is_touched_before_control_knows_anything(lab: Lab) -> None:
    lab.start()
    with ControlClient(lab.bench.lab) as line:
        until(lambda: "node1" in line.get()["proxies"])
        before = lab.rules()
        line.hold()
        assert lab.rules() == before == []


def test_rules_that_are_there_already_are_not_written_again_but_changed(lab: Lab) -> None:
    lab.start()
    lab.put(WEB)
    rules = lab.rules()
    lab.kill("node1")
    lab.sh("iptables -t nat -F KUBE-NODEPORTS")
    broken = lab.rules()
    with ControlClient(lab.bench.lab) as line:
        line.put([WEB], expect={"kube-proxy": ["node1"]}, written=["node1"])
        lab.start()
        until(lambda: "generation" in line.get()["proxies"].get("node1", {}))
        assert lab.rules() == broken != rules
    lab.put(WEB, OTHER)
    assert any("default/other" in rule for rule in lab.rules())
    assert not any("KUBE-NODEPORTS -p" in rule for rule in lab.rules())  # of which `other` has none
    lab.put(replace(WEB, ports=(replace(WEB.ports[0], node_port=30081),)))
    assert any("KUBE-NODEPORTS -p" in rule for rule in lab.rules())


def test_rules_follow_services(lab: Lab) -> None:
    lab.start("node1")
    lab.start("node2")
    lab.put(WEB)
    assert lab.leads_to("20.96.0.2", "20.96.0.3")
    lab.put(replace(WEB, ports=(Port("", 80, endpoints=(A,)),)), OTHER)
    assert lab.leads_to("20.96.0.2", "20.96.0.3", node="node2")
    lab.put(removed=["default/other"], whole=False)
    assert lab.leads_to("20.96.0.2")
    assert lab.leads_to("20.96.0.2", node="node2")


def test_rules_follow_readiness_on_every_node(lab: Lab) -> None:
    lab.start("node1")
    lab.start("node2")
    lab.put(WEB)
    lab.reports("node1", a=True)
    lab.reports("node2", b=False)
    for node in ("node1", "node2"):
        until(lambda node=node: lab.leads_to("20.96.0.2", node=node))  # type: ignore[misc]
    lab.reports("node2", b=True)
    until(lambda: lab.leads_to("20.96.0.2", "20.96.0.3"))


def test_a_first_sync_takes_away_what_is_stale_and_leaves_strangers_alone(lab: Lab) -> None:
    lab.start()
    lab.put(WEB, OTHER)
    lab.kill("node1")
    lab.sh("iptables -t nat -N KUBE-SVC-OF-A-STRANGER")
    lab.sh("iptables -I FORWARD -s 1.2.3.4 -j ACCEPT")
    with ControlClient(lab.bench.lab) as line:
        line.put([WEB], expect={"kube-proxy": []})
    assert lab.leads_to("20.96.0.2", "20.96.0.3")
    lab.start()
    lab.put(WEB)
    rules = lab.rules()
    assert [line for line in rules if "default/other" in line] == []
    assert ":KUBE-SVC-OF-A-STRANGER -" in rules
    assert "-A FORWARD -s 1.2.3.4/32 -j ACCEPT" in rules
    # Chains of `other` are gone, and no jump stands there twice.
    assert len([line for line in rules if line.startswith(":KUBE-S") and "STRANGER" not in line]) == 5
    assert len(rules) == len(set(rules)) + _commits(rules)


def _commits(rules: list[str]) -> int:
    """Lines that stand there once for each table, but for the first."""
    again = [line for line in rules if not line.startswith("-A") and rules.count(line) > 1]
    return len(again) - len(set(again))


def test_a_killed_kube_proxy_leaves_its_rules_and_the_next_goes_on(lab: Lab) -> None:
    lab.start()
    lab.put(WEB)
    before = lab.rules()
    lab.kill("node1")
    with ControlClient(lab.bench.lab) as line:
        line.put([WEB, OTHER], expect={"kube-proxy": []})
    assert lab.rules() == before
    lab.start()
    lab.put(WEB, OTHER)
    assert any("default/other" in line for line in lab.rules())
    lab.put(WEB)
    assert lab.rules() == before


def test_it_goes_on_with_a_new_control_process(lab: Lab) -> None:
    lab.start()
    lab.put(WEB)
    before = lab.rules()
    lab.kill("control")
    assert lab.rules() == before
    lab.pids["control"] = lab.run([Add(lab.control)])[0]
    lab.put(WEB, OTHER)
    assert alive(lab.pids["node1"])
    assert any("default/other" in line for line in lab.rules())


def test_it_outlives_its_nodes_process_which_adopts_it(lab: Lab) -> None:
    node = lab.bench.node("node1")
    lab.start()
    lab.put(WEB)
    os.kill(node, signal.SIGKILL)
    until(lambda: not alive(node))
    lab.put(WEB, OTHER)
    lab.bench.node("node1")
    assert lab.bench.record("node1", "kube-proxy").pid == lab.pids["node1"]
    lab.run([Remove(lab.proxies["node1"])])
    assert not alive(lab.pids["node1"])
    assert any("default/other" in line for line in lab.rules())  # it leaves its rules, as the real one does


def test_what_the_kernel_refuses_is_told_and_tried_again(lab: Lab) -> None:
    lab.start(iptables="iptables-of-another-world")
    with ControlClient(lab.bench.lab) as line:
        assert line.put([WEB], expect={"kube-proxy": ["node1"]}) == ()
        output = line.get()["proxies"]["node1"]["error"]
    assert output == "iptables-of-another-world-save: iptables-of-another-world-save is not installed"
    log = lab.bench.run / "nodes/node1/nslab-node.log"
    until(lambda: log.read_text().count(output) > 1)


def in_the_way(service: ServiceInfo) -> str:
    """The name of the set in which nftables mode keeps the clients of a Service's only endpoint."""
    (end,) = service.ports[0].endpoints
    return f"affinity-{nft_name(f'{service.key}/tcp/__{end.ip}/{end.port}')}"


def test_what_is_refused_of_one_service_is_told_and_the_others_are_written(lab: Lab) -> None:
    """A map of somebody's has the name of a set that is wanted: nft refuses the transaction."""
    services = [replace(OTHER, name=f"s{number}", cluster_ip=f"10.96.1.{number}", affinity=60) for number in range(9)]
    bad = services[3], services[7]
    lab.start(mode="nftables")
    lab.put(WEB)
    for service in bad:
        lab.sh(f"nft add map ip kube-proxy {in_the_way(service)} {{ type ipv4_addr : verdict ; }}")
    with ControlClient(lab.bench.lab) as line:
        assert line.put([WEB, *services], expect={"kube-proxy": ["node1"]}) == ()
        assert [*line.failed] == ["node1"]
        assert line.failed["node1"].keys() == {service.key for service in bad}
        assert all("nft -f -: " in why for why in line.failed["node1"].values())
        assert line.put([OTHER], whole=False, expect={"kube-proxy": ["node1"]}) == ()
        assert line.failed["node1"].keys() == {service.key for service in bad}, "they are still not written"
    elements = lab.sh("nft list map ip kube-proxy service-ips")
    assert [one.key for one in (WEB, OTHER, *services) if f"{one.cluster_ip} . " not in elements] == [
        service.key for service in bad
    ]
    for service in bad:
        lab.sh(f"nft delete map ip kube-proxy {in_the_way(service)}")
    until(lambda: all(f"{one.cluster_ip} . " in lab.sh("nft list map ip kube-proxy service-ips") for one in bad))
    lab.put(WEB, OTHER, *services)


def test_a_first_sync_too_leaves_out_what_is_refused(lab: Lab) -> None:
    bad = replace(OTHER, name="sticky", cluster_ip="10.96.1.1", affinity=60)
    lab.start(mode="nftables")
    lab.sh("nft add table ip kube-proxy")
    lab.sh(f"nft add map ip kube-proxy {in_the_way(bad)} {{ type ipv4_addr : verdict ; }}")
    with ControlClient(lab.bench.lab) as line:
        line.put([WEB, bad, OTHER], expect={"kube-proxy": ["node1"]})
        assert line.failed["node1"].keys() == {bad.key}
        assert "10.96.0.2 . tcp . 80" in lab.sh("nft list map ip kube-proxy service-ips")
        line.put([OTHER], expect={"kube-proxy": ["node1"]})
        assert line.failed == {}, "who is gone is refused no more"


@contextlib.contextmanager
def somebody_listens(lab: Lab, port: int) -> Iterator[None]:
    """A program of somebody's has a port of node1."""
    script = f"import socket, sys; s = socket.create_server(('', {port})); print(flush=True); sys.stdin.read()"
    argv = ["ip", "netns", "exec", lab.bench.ns("node1"), sys.executable, "-c", script]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout
        program.stdout.readline()
        yield


@pytest.mark.parametrize("mode", ["iptables", "userspace"])
def test_a_port_that_somebody_has_is_told_too(lab: Lab, mode: str) -> None:
    lab.start(mode=mode)
    local = replace(WEB, type="LoadBalancer", external_local=True, health_check_node_port=32000)
    port = 32000 if mode == "iptables" else 30080
    what = {
        32000: "health check node port 32000 of default/web:",
        30080: "cannot bind node port 30080 of default/web:",
    }
    with ControlClient(lab.bench.lab) as line:
        with somebody_listens(lab, port):
            line.put([local, OTHER], expect={"kube-proxy": ["node1"]})
            assert line.failed == {"node1": {"default/web": f"{what[port]} Address already in use"}}
        line.put([WEB, OTHER, replace(OTHER, name="more", cluster_ip="10.96.0.3")], expect={"kube-proxy": ["node1"]})
        assert line.failed == {}


def test_what_is_no_single_services_fault_is_told_as_that(lab: Lab) -> None:
    """Somebody's rule leads to a chain that is to go: iptables-restore refuses the whole."""
    lab.start()
    lab.put(WEB, OTHER)
    lab.sh(f"iptables -t nat -A OUTPUT -d 192.0.2.1 -j KUBE-SVC-{port_hash(WEB.key, 'tcp')}")
    with ControlClient(lab.bench.lab) as line:
        line.put([OTHER], expect={"kube-proxy": ["node1"]})
        assert re.search("restore.*KUBE-SVC", line.failed["node1"][""])


def test_what_somebody_broke_is_written_anew_when_a_change_meets_it(lab: Lab) -> None:
    lab.start()
    lab.put(WEB, OTHER)
    rules = lab.rules()
    lab.put(OTHER)
    lab.sh("iptables -t nat -F")
    lab.sh("iptables -t nat -X")  # among others KUBE-MARK-MASQ, to which the next rules lead
    lab.put(WEB, OTHER)
    assert lab.rules() == rules
    log = (lab.bench.run / "nodes/node1/nslab-node.log").read_text()
    assert "writing all rules again" in log


def served(lab: Lab, port: int) -> tuple[int, str, dict[str, Any]]:
    """What the health check port of node1 says: status, weight, body."""
    made: list[tuple[int, str, dict[str, Any]]] = []

    def ask() -> None:
        try:
            answer = urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            weight = answer.headers["X-Load-Balancing-Endpoint-Weight"]
            made.append((answer.status, weight, json.load(answer)))

    lab.bench.inside("node1", ask)
    return made[0]


def test_load_balancers_are_told_whether_there_are_endpoints_here(lab: Lab) -> None:
    lab.start()
    local = replace(WEB, type="LoadBalancer", external_local=True, health_check_node_port=32000)
    lab.put(local)
    body = {"service": {"namespace": "default", "name": "web"}, "serviceProxyHealthy": True}
    assert served(lab, 32000) == (200, "1", {**body, "localEndpoints": 1})
    lab.put(replace(local, ports=(Port("", 80, endpoints=(B,)),)))
    assert served(lab, 32000) == (503, "0", {**body, "localEndpoints": 0})
    lab.put(WEB)
    with pytest.raises(urllib.error.URLError, match="refused"):
        served(lab, 32000)


def flows(lab: Lab) -> list[str]:
    """UDP flows of node1: where a client sends to, and who is to answer."""
    listed = lab.sh("conntrack -L -p udp").splitlines()
    words = [dict(word.split("=") for word in line.split()[3:] if "=" in word) for line in listed]
    there = [line.split("dst=")[1].split()[0] for line in listed]
    return sorted({f"{to} {one['src']}" for to, one in zip(there, words, strict=True)})


def test_flows_of_udp_to_endpoints_that_are_gone_are_forgotten(lab: Lab) -> None:
    lab.start()
    ends = (Endpoint("192.168.59.100", 53, "node2"), Endpoint("192.168.59.101", 53, "node2"))
    dns = ServiceInfo("kube-system", "kube-dns", "10.96.0.10", (Port("dns", 53, "UDP", endpoints=ends[:1]),))
    lab.sh("ip link add eth0 type veth peer name far")
    lab.sh("ip addr add 192.168.59.22/24 dev eth0")
    lab.sh("ip link set eth0 up")
    lab.sh("ip link set far up")
    lab.sh("ip route add 10.96.0.0/12 dev eth0")
    for end in ends:  # or the kernel would wait for somebody to answer ARP, and keep the flow unconfirmed
        lab.sh(f"ip neigh add {end.ip} lladdr 02:00:00:00:00:01 dev eth0")
    lab.put(dns)

    def ask() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(b"who?", ("10.96.0.10", 53))
            client.sendto(b"who?", ("192.168.59.100", 53))

    lab.bench.inside("node1", ask)
    direct = "192.168.59.100 192.168.59.100"
    assert flows(lab) == ["10.96.0.10 192.168.59.100", direct]
    lab.put(replace(dns, ports=(replace(dns.ports[0], endpoints=ends),)))
    assert flows(lab) == ["10.96.0.10 192.168.59.100", direct]
    going = replace(ends[0], ready=False, terminating=True)
    lab.put(replace(dns, ports=(replace(dns.ports[0], endpoints=(going, ends[1])),)))
    assert flows(lab) == ["10.96.0.10 192.168.59.100", direct], "it is asked nothing new, and serves those that it has"
    lab.put(replace(dns, ports=(replace(dns.ports[0], endpoints=(replace(going, serving=False), ends[1])),)))
    assert flows(lab) == [direct]
    lab.bench.inside("node1", ask)
    assert flows(lab) == ["10.96.0.10 192.168.59.101", direct]
    # One that was killed finds out when it starts again.
    lab.kill("node1")
    with ControlClient(lab.bench.lab) as line:
        line.put([replace(dns, ports=(replace(dns.ports[0], endpoints=ends[:1]),))], expect={"kube-proxy": []})
    assert flows(lab) == ["10.96.0.10 192.168.59.101", direct]
    lab.start()
    until(lambda: flows(lab) == [direct])


def test_ends_when_asked_and_leaves_its_rules(lab: Lab) -> None:
    lab.start()
    lab.put(WEB)
    before = lab.rules()
    os.kill(lab.pids["node1"], signal.SIGTERM)
    until(lambda: not alive(lab.pids["node1"]))
    assert lab.rules() == before


@pytest.mark.parametrize("mode", ["nftables", "userspace"])
def test_other_modes(lab: Lab, mode: str) -> None:
    lab.start(mode=mode)
    listing: dict[str, Callable[[], str]] = {
        "nftables": lambda: lab.sh("nft list ruleset"),
        "userspace": lambda: lab.sh("iptables-save") + lab.sh("ss -lntH"),
    }
    lab.put(WEB)
    first = listing[mode]()
    lab.put(WEB, OTHER)
    assert "default/other" in listing[mode]()
    lab.kill("node1")
    lab.start(mode=mode)
    lab.put(WEB)
    again = listing[mode]()
    assert "default/other" not in again
    assert again.count("default/web") == first.count("default/web") > 0


def test_in_userspace_mode_it_carries_the_traffic(lab: Lab) -> None:
    lab.start(mode="userspace")
    lab.sh("ip addr add 192.168.59.22/32 dev lo")
    made: dict[str, socket.socket] = {}
    lab.bench.inside("node1", lambda: made.update(server=socket.create_server(("192.168.59.22", 9000))))
    end = Endpoint("192.168.59.22", 9000, "node1")
    lab.sh("ip route add 10.96.0.0/12 dev lo")
    lab.put(ServiceInfo("default", "web", "10.96.0.1", (Port("", 80, endpoints=(end,)),)))
    lab.bench.inside("node1", lambda: made.update(client=socket.create_connection(("10.96.0.1", 80), 5)))
    made["server"].settimeout(5)
    peer, address = made["server"].accept()
    assert address != made["client"].getsockname()  # two connections
    made["client"].sendall(b"hello")
    peer.settimeout(5)
    assert peer.recv(5) == b"hello"
    for sock in (*made.values(), peer):
        sock.close()
