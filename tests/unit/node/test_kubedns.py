"""kubedns asked without a network: what Kubernetes' DNS specification says of each name."""

from __future__ import annotations

import json
import os
import random
import struct
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

# Tests are imported by their path (importlib), so what they share must be on the path itself.
sys.path.insert(0, os.path.dirname(__file__))

from dnstalk import Told, query, read

from nslab.components.apiserver import records as written
from nslab.components.images.dns_records import DOMAIN
from nslab.components.images.kubedns import RecordsFile, parse, respond
from nslab.lab import dns as dns_pod
from nslab.lab.views import container
from nslab.proxy.model import Endpoint, Port, ServiceInfo, to_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SOA = ("cluster.local. 30 SOA ns.dns.cluster.local. hostmaster.cluster.local.",)
ROOT = (". 30 SOA ns.dns.cluster.local. hostmaster.cluster.local.",)
WEB = tuple(Endpoint(ip, 8080, node="n1") for ip in ("20.96.0.5", "20.96.0.6"))
DB = (
    Endpoint("20.96.1.1", 5432, hostname="db-0"),
    Endpoint("20.96.1.2", 5432, hostname="db-1", ready=False),
    Endpoint("20.96.1.3", 5432),
)
SERVICES = (
    ServiceInfo(
        "default", "svc-b", "10.103.9.116", (Port("http", 8080, endpoints=WEB), Port("", 53, "UDP", endpoints=WEB))
    ),
    ServiceInfo("default", "db", "", (Port("pg", 5432, endpoints=DB),)),
    ServiceInfo(
        "default", "early", "", (Port("", 1, endpoints=(replace(DB[1], ready=True),)),), publish_not_ready=True
    ),
    ServiceInfo("default", "late", "", (Port("", 1, endpoints=DB[1:2]),), publish_not_ready=True),
    ServiceInfo("default", "nobody", "", (Port("http", 80),)),
    ServiceInfo("other", "away", type="ExternalName", external_name="www.example.org"),
    ServiceInfo("other", "near", type="ExternalName", external_name="svc-b.default.svc.cluster.local"),
    ServiceInfo("other", "lost", type="ExternalName", external_name="x.default.svc.cluster.local"),
    ServiceInfo("other", "loop", type="ExternalName", external_name="loop.other.svc.cluster.local"),
    ServiceInfo("kube-system", "kube-dns", "10.96.0.10", (Port("dns", 53, "UDP"), Port("dns-tcp", 53))),
)


class Folder:
    """The folder of records, and what a server says that reads them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fd = os.open(path, os.O_PATH)
        self.zone = RecordsFile(self.fd)

    def write(self, *services: ServiceInfo) -> None:
        self.put(json.dumps({"domain": "cluster.local", "services": [to_json(service) for service in services]}))

    def put(self, text: str) -> None:
        (self.path / "new").write_text(text)
        (self.path / "new").rename(self.path / "records.json")

    def ask(self, name: str, kind: str = "A", **more: Any) -> Told:
        answer = respond(query(name, kind, **more), self.zone, 0)
        assert answer is not None
        return read(answer)


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Folder]:
    made = Folder(tmp_path)
    yield made
    os.close(made.fd)


@pytest.fixture
def dns(empty: Folder) -> Folder:
    empty.write(*SERVICES)
    return empty


def a(name: str, *addresses: str) -> tuple[str, ...]:
    return tuple(f"{name}.cluster.local. 30 A {address}" for address in addresses)


@pytest.mark.parametrize(
    ("name", "addresses"),
    [
        ("svc-b.default.svc", ["10.103.9.116"]),
        ("kube-dns.kube-system.svc", ["10.96.0.10"]),
        ("db.default.svc", ["20.96.1.1", "20.96.1.3"]),
        ("db-0.db.default.svc", ["20.96.1.1"]),
        ("20-96-1-3.db.default.svc", ["20.96.1.3"]),
        ("early.default.svc", ["20.96.1.2"]),
        ("db-1.early.default.svc", ["20.96.1.2"]),
        ("20-111-156-7.default.pod", ["20.111.156.7"]),
    ],
)
def test_addresses(dns: Folder, name: str, addresses: list[str]) -> None:
    shown = dns.ask(f"{name}.cluster.local")
    assert (shown.code, shown.answers) == ("NOERROR", a(name, *addresses))
    assert (shown.authority, shown.additional, shown.truncated) == ((), (), False)


@pytest.mark.parametrize(
    "name",
    [
        "svc-b.default.svc",
        "db-0.db.default.svc",
        "nobody.default.svc",
        "_tcp.svc-b.default.svc",
        "_http._tcp.svc-b.default.svc",
        "default.svc",
        "svc",
        "pod",
        "anything.pod",
        "20-111-156-7.default.pod",
    ],
)
def test_what_exists_has_no_ipv6_address(dns: Folder, name: str) -> None:
    shown = dns.ask(f"{name}.cluster.local", "AAAA")
    assert (shown.code, shown.answers, shown.authority) == ("NOERROR", (), SOA)


@pytest.mark.parametrize(
    "name",
    [
        "svc-c.default.svc",
        "svc-b.other.svc",
        "nothing.svc",
        "web.svc-b.default.svc",
        "db-1.db.default.svc",
        "20-96-1-1.db.default.svc",  # it has a hostname
        "_udp.db.default.svc",
        "_https._tcp.svc-b.default.svc",
        "_http._udp.svc-b.default.svc",
        "_._udp.svc-b.default.svc",  # a port without a name
        "a.b.c.svc-b.default.svc",
        "1-2-3.default.pod",
        "1-2-3-256.default.pod",
        "1-2-3-4-5.default.pod",
        "1-2-3-².default.pod",
        "svc-b",
        "x.1-2-3-4.default.pod",
    ],
)
def test_what_does_not_exist(dns: Folder, name: str) -> None:
    shown = dns.ask(f"{name}.cluster.local")
    assert (shown.code, shown.answers, shown.authority) == ("NXDOMAIN", (), SOA)


@pytest.mark.parametrize("name", ["www.example.org", "svc-b", "svc-b.default", "cluster.localx", "xcluster.local"])
def test_what_is_not_in_the_cluster_does_not_exist(dns: Folder, name: str) -> None:
    shown = dns.ask(name)
    assert (shown.code, shown.answers, shown.authority) == ("NXDOMAIN", (), ROOT)


def test_a_named_port_is_at_the_service(dns: Folder) -> None:
    shown = dns.ask("_http._tcp.svc-b.default.svc.cluster.local", "SRV")
    assert shown.answers == (
        "_http._tcp.svc-b.default.svc.cluster.local. 30 SRV 0 100 8080 svc-b.default.svc.cluster.local.",
    )
    assert shown.additional == a("svc-b.default.svc", "10.103.9.116")


def test_a_named_port_of_a_headless_service_is_at_its_endpoints(dns: Folder) -> None:
    name = "_pg._tcp.db.default.svc.cluster.local"
    shown = dns.ask(name, "SRV", size=1232)
    assert shown.answers == (
        f"{name}. 30 SRV 0 50 5432 20-96-1-3.db.default.svc.cluster.local.",
        f"{name}. 30 SRV 0 50 5432 db-0.db.default.svc.cluster.local.",
    )
    assert shown.additional == (
        *a("20-96-1-3.db.default.svc", "20.96.1.3"),
        *a("db-0.db.default.svc", "20.96.1.1"),
        "OPT 4096 0",
    )


def test_what_is_published_was_the_endpoints_controllers_to_decide(dns: Folder) -> None:
    assert dns.ask("late.default.svc.cluster.local").answers == ()
    assert dns.ask("db-1.late.default.svc.cluster.local").code == "NXDOMAIN"


def test_addresses_have_names(dns: Folder) -> None:
    def name(address: str) -> tuple[str, ...]:
        shown = dns.ask(".".join(reversed(address.split("."))) + ".in-addr.arpa", "PTR")
        assert shown.code == ("NOERROR" if shown.answers else "NXDOMAIN")
        return tuple(line.split()[-1] for line in shown.answers)

    assert name("10.103.9.116") == ("svc-b.default.svc.cluster.local.",)
    assert name("20.96.1.1") == ("db-0.db.default.svc.cluster.local.",)
    assert name("20.96.1.3") == ("20-96-1-3.db.default.svc.cluster.local.",)
    assert name("20.96.1.2") == ("db-1.early.default.svc.cluster.local.",)
    assert name("20.96.0.5") == ()  # of a Service with an address of its own
    assert name("8.8.8.8") == ()


def test_between_an_address_and_its_zone_there_are_names(dns: Folder) -> None:
    soa = ("in-addr.arpa. 30 SOA ns.dns.cluster.local. hostmaster.cluster.local.",)
    for name in ("9.103.10.in-addr.arpa", "10.in-addr.arpa", "in-addr.arpa"):
        assert (dns.ask(name, "PTR").code, dns.ask(name, "PTR").authority) == ("NOERROR", soa)
    assert (dns.ask("11.in-addr.arpa").code, dns.ask("11.in-addr.arpa").authority) == ("NXDOMAIN", soa)
    assert [dns.ask(name).code for name in (".", "local", "arpa", "ip6.arpa")] == ["NOERROR"] * 4


def test_external_names(dns: Folder) -> None:
    away = ("away.other.svc.cluster.local. 30 CNAME www.example.org.",)
    assert [dns.ask("away.other.svc.cluster.local", kind).answers for kind in ("A", "AAAA", "CNAME")] == [away] * 3
    assert dns.ask("near.other.svc.cluster.local").answers == (
        "near.other.svc.cluster.local. 30 CNAME svc-b.default.svc.cluster.local.",
        *a("svc-b.default.svc", "10.103.9.116"),
    )
    lost = dns.ask("lost.other.svc.cluster.local")
    assert (lost.code, len(lost.answers), lost.authority) == ("NXDOMAIN", 1, SOA)
    assert dns.ask("loop.other.svc.cluster.local").code == "SERVFAIL"


def test_the_zone_itself(dns: Folder) -> None:
    assert dns.ask("cluster.local", "SOA").answers == SOA
    assert dns.ask("dns-version.cluster.local", "TXT").answers == ("dns-version.cluster.local. 30 TXT 1.1.0",)
    assert dns.ask("svc-b.default.svc.cluster.local", "ANY").answers == a("svc-b.default.svc", "10.103.9.116")


def test_capital_letters_are_the_same_name_and_come_back(dns: Folder) -> None:
    shown = dns.ask("Svc-B.default.SVC.cluster.local")
    assert shown.answers == ("Svc-B.default.SVC.cluster.local. 30 A 10.103.9.116",)


def test_large_answers_are_cut_off_over_udp_and_whole_over_tcp(empty: Folder) -> None:
    ends = tuple(Endpoint(f"20.96.{number // 250}.{number % 250}", 80) for number in range(3000))
    empty.write(ServiceInfo("default", "many", "", (Port("http", 80, endpoints=ends),)))
    name = "many.default.svc.cluster.local"
    for size in (0, 512, 1232, 4096, 9000):
        answer = respond(query(name, size=size), empty.zone, 0)
        assert answer
        shown = read(answer)
        assert shown.truncated
        most = min(max(size, 512), 4096)
        assert most - 16 < len(answer) <= most
    whole = respond(query(name, size=512), empty.zone, 65535)
    assert whole
    assert (read(whole).truncated, len(read(whole).answers)) == (False, 3000)
    most = respond(query(f"_http._tcp.{name}", "SRV"), empty.zone, 65535)
    assert most
    assert len(most) <= 65535
    assert read(most).truncated


def test_extra_records_that_do_not_fit_are_no_loss(empty: Folder) -> None:
    ends = tuple(Endpoint(f"20.96.0.{number}", 80) for number in range(7))
    empty.write(ServiceInfo("default", "h", "", (Port("p", 80, endpoints=ends),)))
    shown = empty.ask("_p._tcp.h.default.svc.cluster.local", "SRV")
    assert (len(shown.answers), shown.truncated) == (7, False)
    assert 0 < len(shown.additional) < 7


def test_records_follow_the_file_at_once(empty: Folder) -> None:
    name = "svc-b.default.svc.cluster.local"
    assert empty.ask(name).code == "SERVFAIL"
    for number in range(50):
        empty.write(ServiceInfo("default", "svc-b", f"10.96.0.{number}"))
        assert empty.ask(name).answers == a("svc-b.default.svc", f"10.96.0.{number}")
    empty.write()
    assert empty.ask(name).code == "NXDOMAIN"


@pytest.mark.parametrize("text", ["", "nonsense", "[]", "{}", '{"services": 1}', '{"services": [{"name": "x"}]}', "\0"])
def test_a_file_that_cannot_be_read_changes_nothing(dns: Folder, text: str) -> None:
    name = "svc-b.default.svc.cluster.local"
    assert dns.ask(name).code == "NOERROR"
    dns.put(text)
    assert dns.ask(name).code == "NOERROR"
    (dns.path / "records.json").unlink()
    assert dns.ask(name).code == "NOERROR"
    dns.write()
    assert dns.ask(name).code == "NXDOMAIN"


def test_one_bad_service_is_not_the_end_of_the_others(empty: Folder) -> None:
    bad = ServiceInfo("default", "bad", type="ExternalName", external_name=f"{'x' * 64}.org")
    empty.write(bad, ServiceInfo("default", "good", "10.96.0.1"))
    assert empty.ask("bad.default.svc.cluster.local").code == "SERVFAIL"
    assert empty.ask("good.default.svc.cluster.local").code == "NOERROR"


def test_other_questions_are_refused(dns: Folder) -> None:
    def code(data: bytes) -> str:
        answer = respond(data, dns.zone, 0)
        assert answer
        return read(answer).code

    good = query("svc-b.default.svc.cluster.local", size=1232)
    assert code(query("cluster.local", flags=0x2000)) == "NOTIMP"  # NOTIFY
    assert code(good[:-13] + b"\0\3" + good[-11:]) == "REFUSED"  # CHAOS
    assert code(good[:-15] + b"\0\xfc" + good[-13:]) == "REFUSED"  # AXFR
    # Version 1 of EDNS: BADVERS is code 16, of which the header has the lower four bits.
    answer = respond(good[:-5] + b"\1" + good[-4:], dns.zone, 0)
    assert answer
    assert read(answer).additional == ("OPT 4096 16777216",)


def test_what_is_no_question_is_said_to_be_so(dns: Folder) -> None:
    good = query("svc-b.default.svc.cluster.local", number=513, size=1232)
    for cut in range(12, len(good)):
        answer = respond(good[:cut], dns.zone, 0)
        assert answer
        assert (read(answer).code, read(answer).number) == ("FORMERR", 513)
    assert all(respond(good[:cut], dns.zone, 0) is None for cut in range(12))
    assert respond(b"\0\1\x80" + good[3:], dns.zone, 0) is None  # an answer
    for count in (0, 2, 9999):
        answer = respond(good[:4] + struct.pack("!H", count) + good[6:], dns.zone, 0)
        assert answer
        assert read(answer).code == "FORMERR"
    whole = len(good) - 11  # what comes then is EDNS
    assert respond(good[: whole - 1], dns.zone, 0) == b"\2\1\x81\x81" + bytes(8)
    assert respond(good[:-1], dns.zone, 0) == b"\2\1\x81\x81\0\1" + bytes(6) + good[12:whole]
    pointer = good[:12] + b"\xc0\x0c" + good[-15:]
    answer = respond(pointer, dns.zone, 0)
    assert answer
    assert read(answer).code == "FORMERR"


def holds(zone: RecordsFile, data: bytes) -> None:
    """Any bytes are answered so that the answer can be read, or not at all."""
    for limit in (0, 65535):
        answer = respond(data, zone, limit)
        if answer:
            assert answer[:2] == data[:2]
            read(answer)


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    holds(RecordsFile(-1), data)


def test_broken_questions(dns: Folder) -> None:
    dice = random.Random(4)
    good = [
        query(f"{name}.cluster.local", kind, size=1232) for name in ("db.default.svc", "x") for kind in ("A", "SRV")
    ]
    for _ in range(5000):
        data = bytearray(dice.choice(good))
        for _ in range(dice.randint(1, 4)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        holds(dns.zone, bytes(data[: dice.randint(0, len(data))] if dice.random() < 0.2 else data))


def test_flags() -> None:
    assert (parse([]), parse(["--dns-port=53"])) == (10053, 53)
    for wrong in ("--dns-port", "--dns-port=x", "--dns-port=0", "--dns-port=65536", "--port=1"):
        with pytest.raises(ValueError, match="port"):
            parse([wrong])


def test_the_lab_and_the_node_agree() -> None:
    kubedns, dnsmasq = map(container, dns_pod.containers())
    assert (kubedns.builtin, parse(kubedns.args)) == ("kubedns", dns_pod.PORT)
    assert f"--server=127.0.0.1#{dns_pod.PORT}" in dnsmasq.command
    assert dns_pod.DOMAIN == DOMAIN == written.DOMAIN
