"""A pod's resolver reads its two files as glibc does."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address

import pytest

from nslab.pytest_plugin.resolver import Resolver

HOSTS = (
    "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n20.111.156.7\tpod-b # me\n"
)
RESOLV_CONF = (
    "nameserver 10.96.0.10\n"
    "search default.svc.cluster.local svc.cluster.local cluster.local\n"
    "options timeout:1 ndots:5\n"
)
POD = Resolver.read(HOSTS, RESOLV_CONF)


def test_what_the_files_say() -> None:
    assert POD.servers == ("10.96.0.10",)
    assert POD.ndots == 5
    assert POD.hosts == {"localhost": IPv4Address("127.0.0.1"), "pod-b": IPv4Address("20.111.156.7")}


@pytest.mark.parametrize(
    ("name", "tried"),
    [
        ("svc-b", ["svc-b.default.svc.cluster.local.", "svc-b.svc.cluster.local.", "svc-b.cluster.local.", "svc-b."]),
        ("a.b.c.d.e.f", ["a.b.c.d.e.f.", "a.b.c.d.e.f.default.svc.cluster.local."]),
        ("svc-b.", ["svc-b."]),
    ],
)
def test_the_order_in_which_names_are_tried(name: str, tried: list[str]) -> None:
    assert POD.candidates(name)[: len(tried)] == tried


def test_the_first_line_of_hosts_and_the_last_of_search_count() -> None:
    read = Resolver.read("10.0.0.1 a\n10.0.0.2 a b\n", "search one\nsearch two three\n")
    assert read.hosts == {"a": IPv4Address("10.0.0.1"), "b": IPv4Address("10.0.0.2")}
    assert (read.search, read.ndots) == (("two", "three"), 1)


def test_a_known_host_is_not_asked_for() -> None:
    assert POD.ask("no such namespace", "pod-b") == IPv4Address("20.111.156.7")


def test_without_a_server_nobody_is_asked() -> None:
    with pytest.raises(socket.gaierror, match="the lab has no DNS"):
        Resolver.read(HOSTS, "").ask("nslab.x.pod-b", "svc-b")
