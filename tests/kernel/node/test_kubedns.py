"""kubedns and the real dnsmasq in one pod, asked from another."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import struct
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from nodebench import sh, until

# Tests are imported by their path (importlib), so what they share must be on the path itself.
sys.path.insert(0, str(Path(__file__).parents[2] / "unit" / "node"))

from dnstalk import Told, query, read

from nslab.lab.dns import containers
from nslab.lab.views import container
from nslab.linux.timeouts import scaled
from nslab.proxy.model import Endpoint, Port, ServiceInfo, to_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nodebench import Bench

pytestmark = pytest.mark.root

DNS, CLIENT = "10.96.0.10", "192.0.2.9"
"""No common network, as with Calico: dnsmasq must answer whoever asks."""
SVC = "svc-b.default.svc.cluster.local"


class Cluster:
    """A kube-dns pod, a pod that asks it, and the records."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.records = bench, bench.run / "dns" / "records.json"
        bench.node()
        pods = [bench.sandbox(pod) for pod in ("kube-dns", "client")]
        sh(f"ip -n {bench.ns('kube-dns')} link add eth0 type veth peer name eth0 netns {bench.ns('client')}")
        for pod, own, other in (("kube-dns", DNS, CLIENT), ("client", CLIENT, DNS)):
            sh(f"ip -n {bench.ns(pod)} address add {own}/32 dev eth0")
            sh(f"ip -n {bench.ns(pod)} link set eth0 up")
            sh(f"ip -n {bench.ns(pod)} route add {other}/32 dev eth0")
        kubedns, dnsmasq = (
            bench.workload("kube-dns", one.name, *(one.command or (one.builtin,)), *one.args, port=53 * bool(one.ports))
            for one in map(container, containers())
        )
        bench.start(*pods, kubedns, dnsmasq, bench.workload("client", "app", "sleep", "inf"))
        self.udp = self.socket(socket.SOCK_DGRAM)

    def socket(self, kind: int, port: int = 53, pod: str = "client", server: str = DNS) -> socket.socket:
        made: list[socket.socket] = []

        def make() -> None:
            made.append(socket.socket(socket.AF_INET, kind))
            made[0].settimeout(5)
            made[0].connect((server, port))

        self.bench.inside(pod, make)
        return made[0]

    def write(self, *services: ServiceInfo) -> None:
        new = self.records.with_name("new")
        new.write_text(json.dumps({"domain": "cluster.local", "services": [to_json(service) for service in services]}))
        new.rename(self.records)

    def ask(self, name: str, kind: str = "A", **more: Any) -> Told:
        number = random.randrange(1, 65536)
        self.udp.send(query(name, kind, number=number, **more))
        while (shown := read(self.udp.recv(65535))).number != number:
            pass
        return shown

    def ask_tcp(self, name: str, kind: str = "A") -> Told:
        with self.socket(socket.SOCK_STREAM) as tcp:
            asked = query(name, kind)
            tcp.sendall(struct.pack("!H", len(asked)) + asked)
            data = b""
            while len(data) < 2 or len(data) < 2 + struct.unpack_from("!H", data)[0]:
                block = tcp.recv(65535)
                assert block, "hung up on"
                data += block
            return read(data[2:])

    def log(self) -> str:
        return self.bench.log("kube-dns", "dnsmasq")


@pytest.fixture
def dns(bench: Bench) -> Iterator[Cluster]:
    made = Cluster(bench)
    yield made
    made.udp.close()


def test_names_over_udp_and_tcp(dns: Cluster) -> None:
    ends = (Endpoint("20.96.1.1", 5432, hostname="db-0"), Endpoint("20.96.1.3", 5432))
    dns.write(
        ServiceInfo("default", "svc-b", "10.103.9.116", (Port("http", 8080),)),
        ServiceInfo("default", "db", "", (Port("pg", 5432, endpoints=ends),)),
        ServiceInfo("other", "away", type="ExternalName", external_name="www.example.org"),
    )
    for ask in (dns.ask, dns.ask_tcp):
        assert ask(SVC).answers == (f"{SVC}. 30 A 10.103.9.116",)
        assert [line.split()[-1] for line in ask("db.default.svc.cluster.local").answers] == ["20.96.1.1", "20.96.1.3"]
        assert ask("116.9.103.10.in-addr.arpa", "PTR").answers == (f"116.9.103.10.in-addr.arpa. 30 PTR {SVC}.",)
        port = ask(f"_http._tcp.{SVC}", "SRV")
        assert port.answers == (f"_http._tcp.{SVC}. 30 SRV 0 100 8080 {SVC}.",)
        assert port.additional[:1] == (f"{SVC}. 30 A 10.103.9.116",)
        away = "away.other.svc.cluster.local"
        assert ask(away).answers == (f"{away}. 30 CNAME www.example.org.",)
        assert (ask(SVC, "AAAA").code, ask(SVC, "AAAA").answers) == ("NOERROR", ())
        for unknown in ("svc-c.default.svc.cluster.local", "www.example.org", "svc-b", "8.8.8.8.in-addr.arpa"):
            assert ask(unknown).code == "NXDOMAIN"


def test_what_does_not_exist_is_said_at_once(dns: Cluster) -> None:
    dns.write()
    started = time.monotonic()
    assert {dns.ask(f"host{number}.example.org").code for number in range(100)} == {"NXDOMAIN"}
    assert time.monotonic() - started < scaled(5), "who is asked for a name elsewhere waits so long for an answer"


def test_a_change_is_seen_by_the_next_question(dns: Cluster) -> None:
    for number in range(100):
        dns.write(ServiceInfo("default", "svc-b", f"10.103.9.{number}"))
        assert dns.ask(SVC).answers == (f"{SVC}. 30 A 10.103.9.{number}",)
    dns.write()
    assert dns.ask(SVC).code == "NXDOMAIN"
    dns.write(ServiceInfo("default", "svc-b", "10.103.9.7"))
    assert dns.ask(SVC).code == "NOERROR"


def test_many_addresses_take_tcp(dns: Cluster) -> None:
    ends = tuple(Endpoint(f"20.96.{number // 250}.{number % 250}", 80) for number in range(2000))
    dns.write(ServiceInfo("default", "many", "", (Port("http", 80, endpoints=ends),)))
    name = "many.default.svc.cluster.local"
    assert dns.ask(name).truncated
    assert dns.ask(name, size=1232).truncated
    whole = dns.ask_tcp(name)
    assert (whole.truncated, len(whole.answers)) == (False, 2000)


def test_the_log_shows_what_a_search_list_costs(dns: Cluster) -> None:
    """The libc of a container, with the pod's resolv.conf: fewer than five dots, and every suffix is tried first."""
    dns.write(ServiceInfo("default", "svc-b", "10.103.9.116"))
    status, output = dns.bench.exec("client", "container/app", "getent", "ahostsv4", "svc-b")
    assert (status, output.splitlines()[0]) == (0, f"10.103.9.116    STREAM {SVC}")
    assert dns.bench.exec("client", "container/app", "getent", "ahostsv4", "www.example.org") == (2, "")

    def asked() -> list[str]:
        lines = (line.partition("query[A] ")[2].split() for line in dns.log().splitlines())
        return [words[0] for words in lines if words and words[2] == CLIENT]

    until(lambda: "www.example.org" in asked())
    assert asked() == [SVC, "www.example.org.default.svc.cluster.local", "www.example.org"]
    assert f"reply {SVC} is 10.103.9.116" in dns.log()


def test_names_go_on_without_the_nodes_process(dns: Cluster) -> None:
    os.kill(dns.bench.record("node1", "node").pid, signal.SIGKILL)
    until(lambda: not [record for record in dns.bench.records() if record.role == "node"])
    for address in ("10.0.0.1", "10.0.0.2"):
        dns.write(ServiceInfo("default", "svc-b", address))
        assert dns.ask(SVC).answers == (f"{SVC}. 30 A {address}",)


def test_nonsense_ends_nothing(dns: Cluster) -> None:
    dns.write(ServiceInfo("default", "svc-b", "10.103.9.116"))
    dice, good = random.Random(5), query(SVC, size=1232)
    udp = dns.socket(socket.SOCK_DGRAM, 10053, "kube-dns", "127.0.0.1")
    for _ in range(100):
        for number in range(20):
            data = bytearray(good if number % 2 else dice.randbytes(dice.randrange(1, 300)))
            data[dice.randrange(len(data))] = dice.randrange(256)
            udp.send(data)
        # A question that is answered, so that no more wait in the socket than it has room for.
        udp.send(query("cluster.local", "SOA", number=0x7E57))
        while udp.recv(65535)[:2] != b"\x7e\x57":
            pass
    for _ in range(50):
        with dns.socket(socket.SOCK_STREAM, 10053, "kube-dns", "127.0.0.1") as tcp:
            tcp.send(dice.randbytes(dice.randrange(1, 300)))
    udp.close()
    assert dns.ask(SVC).code == "NOERROR"
    assert dns.bench.log("kube-dns", "kubedns").count("\n") == 1


CUT_OFF = query(SVC, size=1232)[:-1]
MISCOUNTED = b"".join((query(SVC)[:6], struct.pack("!H", 3), query(SVC)[8:]))


@pytest.mark.parametrize("malformed", [CUT_OFF, MISCOUNTED], ids=["a record is cut off", "records are missing"])
def test_malformed_questions_do_not_take_the_place_of_others(dns: Cluster, malformed: bytes) -> None:
    """dnsmasq has 150 questions under way at most, each until it has an answer that it knows by its question."""
    dns.write(ServiceInfo("default", "svc-b", "10.103.9.116"))
    udp = dns.socket(socket.SOCK_DGRAM)
    udp.setblocking(False)
    for number in range(1500):
        udp.send(struct.pack("!H", number) + malformed[2:])

    def answered() -> bool:
        dns.udp.settimeout(0.1)  # what comes while there is no room is lost, and asked again
        with contextlib.suppress(TimeoutError):
            return dns.ask(SVC).code == "NOERROR"
        return False

    until(answered, 3)
    udp.close()
