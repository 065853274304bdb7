"""nftables mode with real packets: a node, two pods behind it, and a client on its network."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from ipaddress import IPv4Interface, IPv4Network
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, os.path.dirname(__file__))

from dumps import real
from labkit import until

from nslab.compiler.items import objects
from nslab.objects.inet import Address
from nslab.objects.links import Veth
from nslab.objects.namespaces import Netns
from nslab.objects.plan import diff, transactions
from nslab.objects.ports import LinkUp
from nslab.objects.routes import Route
from nslab.objects.sysctl import Sysctl
from nslab.proxy import nftables
from nslab.proxy.mode import whole
from nslab.proxy.model import Endpoint, Port, Proxy, ServiceInfo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.objects.base import KernelObject

LAB = f"nfttraffic{os.getpid()}"
NODE, ONE, TWO, CLIENT = (f"nslab.{LAB}.{host}" for host in ("n1", "one", "two", "client"))
PODS = {ONE: "10.77.1.1", TWO: "10.77.2.1"}
NODE_IP, CLIENT_IP = "192.168.77.2", "192.168.77.10"
PROXY = Proxy("n1", (NODE_IP,), "nftables", cluster_cidr="10.77.0.0/16", service_cidr="172.30.0.0/16")
PORT = 8080
ENDS = tuple(Endpoint(ip, PORT, "n1") for ip in PODS.values())
LB, RANGES = "203.0.113.9", "203.0.113.10"


def service(number: int, *ends: Endpoint, node_port: int = 0) -> ServiceInfo:
    return ServiceInfo("d", f"s{number}", f"172.30.0.{number}", (Port("", 80, "TCP", node_port, ends),))


WEB = replace(service(1, *ENDS, node_port=30080), load_balancer_ips=(LB,))
NOBODY = service(2, node_port=30082)
STICKY = replace(service(3, *ENDS), affinity=600)
ELSEWHERE = replace(service(4, replace(ENDS[0], node="n2"), node_port=30084), external_local=True)
CLOSED = replace(service(5, *ENDS), load_balancer_ips=(RANGES,), source_ranges=("192.168.77.11/32",))
LOCAL = replace(service(6, *ENDS, node_port=30086), external_local=True)

SERVER = """
import socket, threading
listener = socket.create_server(("0.0.0.0", 8080))
print("there", flush=True)
while True:
    one, peer = listener.accept()
    with one:
        one.sendall(f"{one.getsockname()[0]} {peer[0]}".encode())
"""
CALLER = """
import socket, sys
host, port, times, own = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
for _ in range(times):
    try:
        with socket.create_connection((host, port), 1, source_address=(own, 0) if own else None) as one:
            print(one.makefile().read())
    except TimeoutError:
        print("nothing came back")
    except ConnectionRefusedError:
        print("refused")
"""


def veth(ns: str, ip: str, gateway: str, name: str) -> Iterator[KernelObject]:
    """A host on its own cable to the node, which is its gateway."""
    yield Netns(ns)
    yield Veth(NODE, name, f"02:00:00:00:00:{name[-2:]}", ns, "eth0", f"02:00:00:00:01:{name[-2:]}")
    for where, dev, address in ((NODE, name, gateway), (ns, "eth0", ip)):
        yield LinkUp(where, dev)
        yield Address(where, dev, IPv4Interface(f"{address}/24"))


@pytest.fixture(scope="module", autouse=True)
def world() -> Iterator[None]:
    state = [
        Netns(NODE),
        Sysctl(NODE, "net/ipv4/ip_forward", "1", "0"),
        Sysctl(NODE, "net/ipv4/icmp_ratelimit", "0", "1000"),  # a refusal is an ICMP message: as many as are asked for
        *veth(ONE, PODS[ONE], "10.77.1.254", "pod01"),
        *veth(TWO, PODS[TWO], "10.77.2.254", "pod02"),
        *veth(CLIENT, CLIENT_IP, NODE_IP, "eth00"),
        Address(CLIENT, "eth0", IPv4Interface("192.168.77.11/24")),
        LinkUp(NODE, "lo"),
    ]
    # A node without any route to a cluster IP would not even begin.
    ways = {ONE: ("eth0", "10.77.1.254"), TWO: ("eth0", "10.77.2.254"), CLIENT: ("eth0", NODE_IP)}
    for ns, (dev, gateway) in {**ways, NODE: ("eth00", CLIENT_IP)}.items():
        state.append(Route(ns, IPv4Network("0.0.0.0/0"), dev, IPv4Interface(gateway).ip))
    wished = whole(nftables, (WEB, NOBODY, STICKY, ELSEWHERE, CLOSED, LOCAL), PROXY)
    state += objects(NODE, {"kube-proxy": wished})
    with real(LAB) as kernel, ExitStack() as stack:
        for transaction in transactions(diff((), tuple(state))):
            kernel.run(transaction)
        for ns in PODS:
            argv = ["ip", "netns", "exec", ns, sys.executable, "-c", SERVER]
            server = stack.enter_context(subprocess.Popen(argv, stdout=subprocess.PIPE, text=True))
            stack.callback(server.kill)
            assert server.stdout
            assert server.stdout.readline() == "there\n"
        until(lambda: call(CLIENT, PODS[ONE], PORT) == [f"{PODS[ONE]} {CLIENT_IP}"])
        yield


def call(ns: str, host: str, port: int = 80, times: int = 1, own: str = "") -> list[str]:
    """What connections from a namespace were answered with: who answered, and whom it saw."""
    argv = ["ip", "netns", "exec", ns, sys.executable, "-c", CALLER, host, str(port), str(times), own]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()


def test_a_pod_reaches_all_endpoints_and_itself_through_the_node() -> None:
    # It is itself the source for others; where it meets itself, the node's address stands in between.
    assert set(call(ONE, WEB.cluster_ip, times=40)) == {f"{PODS[TWO]} {PODS[ONE]}", f"{PODS[ONE]} 10.77.1.254"}


def test_the_node_reaches_a_cluster_ip() -> None:
    answers = set(call(NODE, WEB.cluster_ip, times=40))
    assert answers == {f"{PODS[ONE]} 10.77.1.254", f"{PODS[TWO]} 10.77.2.254"}


@pytest.mark.parametrize(("to", "port"), [(NODE_IP, 30080), (LB, 80), (WEB.cluster_ip, 80)])
def test_a_client_is_seen_as_the_node(to: str, port: int) -> None:
    assert set(call(CLIENT, to, port, 40)) == {f"{PODS[ONE]} 10.77.1.254", f"{PODS[TWO]} 10.77.2.254"}


def test_with_policy_local_the_client_is_seen_as_itself() -> None:
    assert set(call(CLIENT, NODE_IP, 30086, 40)) == {f"{ip} {CLIENT_IP}" for ip in PODS.values()}


@pytest.mark.parametrize(
    ("ns", "to", "port"),
    [(ONE, NOBODY.cluster_ip, 80), (NODE, NOBODY.cluster_ip, 80), (CLIENT, NODE_IP, 30082)],
    ids=("pod", "node", "client"),
)
def test_without_endpoints_it_is_refused_at_once(ns: str, to: str, port: int) -> None:
    assert call(ns, to, port) == ["refused"]


def test_a_port_that_a_cluster_ip_does_not_have_is_refused_and_an_address_that_nobody_has_is_dropped() -> None:
    assert call(ONE, WEB.cluster_ip, 81) == ["refused"]
    assert call(ONE, "172.30.7.7", 80) == ["nothing came back"]


def test_policy_local_without_a_local_endpoint() -> None:
    assert call(CLIENT, NODE_IP, 30084) == ["nothing came back"]
    assert call(NODE, NODE_IP, 30084) == [f"{PODS[ONE]} 10.77.1.254"]


def test_node_ports_are_not_open_on_other_addresses_of_the_node() -> None:
    assert call(ONE, "10.77.1.254", 30080) == ["refused"]


def test_affinity() -> None:
    (bound,) = set(call(CLIENT, STICKY.cluster_ip, times=20))
    (end,) = (end for end in ENDS if end.ip == bound.split()[0])
    name = f"affinity-{nftables.nft_name(f'd/s3/tcp/__{end.ip}/{end.port}')}"
    argv = ["ip", "netns", "exec", NODE, "nft", "list", "set", "ip", "kube-proxy", name]
    assert f"elements = {{ {CLIENT_IP} " in subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def test_source_ranges() -> None:
    assert call(CLIENT, RANGES, own=CLIENT_IP) == ["nothing came back"]
    assert call(CLIENT, RANGES, own="192.168.77.11")[0].split()[0] in PODS.values()


def test_endpoints_come_and_go() -> None:
    argv = ["ip", "netns", "exec", NODE, "nft", "-f", "-"]
    ways = [replace(WEB, ports=(replace(WEB.ports[0], endpoints=ends),)) for ends in (ENDS, ENDS[:1], ENDS[1:], ())]
    now = ways[0]
    for then, answers in (
        (ways[1], {PODS[ONE]}),
        (ways[2], {PODS[TWO]}),
        (ways[3], {"refused"}),
        (ways[0], {*PODS.values()}),
    ):
        (command,) = nftables.commands(nftables.part(now, PROXY).own, nftables.part(then, PROXY).own, PROXY)
        subprocess.run(argv, input=command.text, text=True, check=True, capture_output=True)
        assert {answer.split()[0] for answer in call(CLIENT, WEB.cluster_ip, times=30)} == answers
        now = then
