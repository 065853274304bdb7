"""kube-proxy in ipvs mode, where there is IPVS: what it finds again, and how real servers leave."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "kernel/node"))

from nodebench import Bench, alive, sh, until

from nslab.linux.processes.control import ControlClient
from nslab.objects import process as objects
from nslab.objects.plan import Add
from nslab.objects.process import KubeProxy
from nslab.proxy.model import Endpoint, Port, Proxy, ServiceInfo, to_json

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = "192.168.59.22"
A, B = Endpoint(HERE, 9001, "node1"), Endpoint(HERE, 9002, "node1")
WEB = ServiceInfo("default", "web", "10.96.0.1", (Port("", 80, endpoints=(A, B)),))
ONLY_B = replace(WEB, ports=(Port("", 80, endpoints=(B,)),))
OTHER = ServiceInfo("default", "other", "10.96.0.2", (Port("", 80, endpoints=(B,)),))


@pytest.fixture
def bench() -> Iterator[Bench]:
    """node1, with its address."""
    made = Bench()
    try:
        made.add_ns("control")
        made.agents.run([Add(objects.Control(made.ns("control"), made.ns("control")))])
        made.node("node1")
        inside(made, f"ip addr add {HERE}/32 dev lo")
        yield made
    finally:
        made.close()


def inside(bench: Bench, command: str) -> str:
    return sh(f"ip netns exec {bench.ns('node1')} {command}")


def start(bench: Bench) -> int:
    ns = bench.ns("node1")
    proxy = Proxy("node1", (HERE,), mode="ipvs", iptables="iptables-legacy", cluster_cidr="20.96.0.0/12")
    return bench.agents.run([Add(KubeProxy(ns, ns, json.dumps(to_json(proxy))))])[0]


def put(bench: Bench, *services: ServiceInfo) -> None:
    with ControlClient(bench.lab) as line:
        assert line.put(services, expect={"kube-proxy": ["node1"]}) == ()
        assert line.get()["proxies"]["node1"]["error"] == ""


def test_a_first_sync_finds_what_is_there_and_takes_away_what_nobody_wants(bench: Bench) -> None:
    pid = start(bench)
    put(bench, WEB, OTHER)
    before = inside(bench, "ipvsadm -Sn"), inside(bench, "ip -o -4 address show kube-ipvs0")
    assert "-a -t 10.96.0.2:80 -r 192.168.59.22:9002 -m -w 1" in before[0]
    os.kill(pid, signal.SIGKILL)
    until(lambda: not alive(pid), 20)
    with ControlClient(bench.lab) as line:
        line.put([WEB], expect={"kube-proxy": []})
    start(bench)
    put(bench, WEB)
    after = inside(bench, "ipvsadm -Sn"), inside(bench, "ip -o -4 address show kube-ipvs0")
    assert "10.96.0.2" not in "".join(after)
    assert set(after[0].splitlines()) < set(before[0].splitlines())
    assert inside(bench, "iptables-legacy-save -t nat").count("-A OUTPUT") == 1


def test_a_real_server_stays_for_the_connection_that_it_has(bench: Bench) -> None:
    start(bench)
    put(bench, WEB)
    made: dict[str, socket.socket] = {}
    doors: dict[int, socket.socket] = {}

    def listen() -> None:
        doors.update((port, socket.create_server((HERE, port))) for port in (9001, 9002))

    def ask() -> None:
        for name in ("one", "two"):
            made[name] = socket.create_connection(("10.96.0.1", 80), 20)
            made[name].sendall(name.encode())

    bench.inside("node1", listen)
    bench.inside("node1", ask)
    doors[9001].settimeout(20)
    peer, _ = doors[9001].accept()
    peer.settimeout(20)
    client = made[peer.recv(3).decode()]
    put(bench, ONLY_B)
    assert "-a -t 10.96.0.1:80 -r 192.168.59.22:9001 -m -w 0" in inside(bench, "ipvsadm -Sn")
    client.sendall(b"still there")
    assert peer.recv(99) == b"still there"
    # Ended by RST: IPVS forgets the connection after 10 s, after a FIN it would be two minutes.
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    peer.close()

    def gone() -> bool:
        put(bench, ONLY_B, OTHER)
        put(bench, ONLY_B)  # after each sync it looks again
        return "9001" not in inside(bench, "ipvsadm -Sn")

    until(gone, 60)
    for sock in (*made.values(), *doors.values()):
        sock.close()
