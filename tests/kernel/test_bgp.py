"""BIRD on Calico's nodes: the routes that it writes, and what becomes of them when it is killed or reconfigured."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nslab.app.bgp import bgp_of
from nslab.errors import NslabError
from nslab.linux.netns import Namespaces
from nslab.linux.stored_lab import stored_lab
from nslab.wire import netlink
from tests.kernel.labkit import RUN, OwnLab, agnhosts, kill, needs_bird, nslab, until
from tests.slow import SLOW

if TYPE_CHECKING:
    from collections.abc import Iterator

NODES = ("node1", "node2", "node3")
TEXT = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: NAME}
spec:
  cni: {plugin: calico, bgp: {nodeMeshMaxRestartTime: 2s}}
  proxy: {mode: none}
  nodes:
  - {name: node1, address: 192.168.59.22, podCIDR: 20.111.156.0/25}
  - {name: node2, address: 192.168.59.23, podCIDR: 20.109.131.0/26}
  - {name: node3, address: 192.168.59.24, podCIDR: 20.108.66.64/26}
"""
MORE = agnhosts({"more": ("more", "node1")}).replace(
    "labels:", """annotations: {cni.projectcalico.org/ipAddrs: '["20.111.156.70"]'}, labels:"""
)
LENT = "20.109.131.10"
BORROWER = agnhosts({"borrower": ("borrower", "node1")}).replace(
    "labels:", f"""annotations: {{cni.projectcalico.org/ipAddrs: '["{LENT}"]'}}, labels:"""
)
NODE1, FIRST, SECOND = "192.168.59.22", "20.111.156.0/26", "20.111.156.64/26"
RTMGRP_IPV4_ROUTE, RTPROT_BIRD = 0x40, 12
NO_WAY = "has no route to 20.111.156.0/26 (BIRD's)"


class Mesh(OwnLab):
    """Three nodes that speak BGP with each other."""

    def bird_routes(self, host: str) -> list[dict[str, Any]]:
        """The routes of BIRD in a node's kernel, as it lists them."""
        found: list[dict[str, Any]] = json.loads(self.sh(host, "ip -j route show proto bird"))
        return sorted(found, key=lambda route: str(route["dst"]))

    def way(self, host: str, block: str = FIRST) -> str:
        """The next hop of a node's route to a block; "" without one."""
        return next((route["gateway"] for route in self.bird_routes(host) if route["dst"] == block), "")

    def info(self, host: str) -> list[str]:
        """What a node's BIRD says of its sessions."""
        try:
            return [row["info"] for row in bgp_of(stored_lab(self.name), host).sessions]
        except NslabError as error:
            return [str(error)]

    def established(self) -> None:
        """Wait until all have told each other everything."""
        until(lambda: all(self.info(host) == ["Established"] * 2 for host in NODES), 30)
        until(lambda: all(len(bgp_of(stored_lab(self.name), host).routes) >= 2 for host in NODES))


def gone(heard: socket.socket) -> list[int]:
    """The protocols of the routes that went, by the messages that a socket has got."""
    found = []
    with contextlib.suppress(BlockingIOError):
        while data := heard.recv(1 << 16, socket.MSG_DONTWAIT):
            found += [body[5] for kind, _, body in netlink.messages(data) if kind == netlink.DELROUTE]
    return found


def bird_of(lab: OwnLab, host: str) -> int:
    return lab.pids()[f"{host} bird"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    mesh = Mesh(tmp_path_factory.mktemp("bgp"))
    mesh.write(TEXT.replace("NAME", mesh.name))
    needs_bird(mesh.lab())
    mesh.up()
    yield mesh
    mesh.clear()


@pytest.fixture
def mesh(whole: Mesh) -> Iterator[Mesh]:
    """The module's lab, in which all have told each other everything, before and after a test."""
    whole.established()
    yield whole
    whole.up()


@pytest.mark.parametrize("mode", ["IPIP", "IPIPCrossSubnet", "None", "VXLAN"] if SLOW else ["None", "VXLAN", "IPIP"])
def test_bird_writes_the_routes_that_the_plan_wrote(mesh: Mesh, mode: str) -> None:
    """And reads its new configuration while it runs, unless Felix now writes the routes."""
    before = {host: bird_of(mesh, host) for host in NODES}
    done = nslab("set", mesh.name, f"encapsulation={mode}")
    assert done.returncode == 0, done.stderr
    planned = {host: mesh.bird_routes(host) for host in NODES}
    assert all(len(routes) == (0 if mode == "VXLAN" else 3) for routes in planned.values())
    mesh.established()
    for host in NODES:
        mesh.sh(host, "ip route flush proto bird")
    until(lambda: {host: mesh.bird_routes(host) for host in NODES} == planned)
    assert ({host: bird_of(mesh, host) for host in NODES} == before) is (mode != "VXLAN")
    assert mesh.differences() == []


def test_a_killed_bird_leaves_its_routes_and_its_peers_keep_theirs_for_a_while(mesh: Mesh) -> None:
    kept = mesh.bird_routes("node1")
    kill(bird_of(mesh, "node1"))
    assert mesh.way("node2") == NODE1
    assert mesh.info("node1") == [f"node1 has no running BIRD; nslab up {mesh.name} starts it"]
    assert "node1 has no BIRD process" in mesh.differences()
    done = nslab("apply", mesh.name, "-f", "-", input=agnhosts({"one": ("one", "node1")}))
    assert "the bird of node1 has not followed" in done.stderr
    assert "node1 has no BIRD process" in mesh.differences()
    until(lambda: not mesh.way("node2"))
    until(lambda: not mesh.way("node3"))
    assert mesh.bird_routes("node1") == kept
    assert {"node1 has no BIRD process", f"node2 {NO_WAY}", f"node3 {NO_WAY}"} <= {*mesh.differences()}
    mesh.up()
    mesh.established()
    until(lambda: mesh.way("node2") == mesh.way("node3") == NODE1)
    assert mesh.differences() == []


def test_one_that_comes_back_takes_over_its_routes_without_a_gap(mesh: Mesh) -> None:
    kill(bird_of(mesh, "node1"))
    with Namespaces() as spaces:
        heard = spaces.route_socket(mesh.ns("node1"))
        heard.bind((0, RTMGRP_IPV4_ROUTE))
        mesh.up()
        mesh.established()
        assert gone(heard) == []
        mesh.sh("node1", "ip route del 20.109.131.0/26")
        assert gone(heard) == [RTPROT_BIRD]


def test_a_bird_that_is_told_to_end_takes_leave_of_its_peers(mesh: Mesh) -> None:
    kept = mesh.bird_routes("node1")
    os.kill(bird_of(mesh, "node1"), signal.SIGTERM)
    until(lambda: not (mesh.way("node2") or mesh.way("node3")), 1.5)
    assert mesh.bird_routes("node1") == kept
    until(lambda: "Active Socket: Connection refused" in mesh.info("node3"))


def test_a_block_more_is_announced_by_the_running_bird(mesh: Mesh) -> None:
    before = {host: bird_of(mesh, host) for host in NODES}
    done = nslab("apply", mesh.name, "-f", "-", input=MORE)
    assert done.returncode == 0, done.stderr
    until(lambda: [row["network"] for row in bgp_of(stored_lab(mesh.name), "node2").routes].count(SECOND) == 1)
    mesh.sh("node2", "ip route flush proto bird")
    until(lambda: mesh.way("node2", SECOND) == NODE1)
    assert {host: bird_of(mesh, host) for host in NODES} == before
    assert mesh.differences() == []
    assert nslab("delete", mesh.name, "pod", "more", "--now").returncode == 0
    until(lambda: not mesh.way("node2", SECOND))
    assert mesh.differences() == []


def test_a_borrowed_address_is_announced_by_who_has_it_to_its_blocks_owner_too(mesh: Mesh) -> None:
    done = nslab("apply", mesh.name, "-f", "-", input=BORROWER)
    assert done.returncode == 0, done.stderr
    others = ("node2", "node3")
    for host in others:
        until(lambda at=host: f"{LENT}/32" in [row["network"] for row in bgp_of(stored_lab(mesh.name), at).routes])
        mesh.sh(host, f"ip route del {LENT}")
    until(lambda: [mesh.way(host, LENT) for host in others] == [NODE1] * 2)
    assert all(" 0% packet loss" in mesh.sh(host, f"ping -c 1 -W 2 {LENT}") for host in others)
    assert mesh.differences() == []
    assert nslab("delete", mesh.name, "pod", "borrower", "--now").returncode == 0
    until(lambda: not any(mesh.way(host, LENT) for host in others))
    assert mesh.differences() == []


@pytest.mark.skipif(not SLOW, reason="waits for 10 s")
def test_a_peer_that_does_not_come_holds_nothing_back_for_long(mesh: Mesh) -> None:
    """BIRD leaves the kernel alone until it has heard all peers; there is a longest time."""
    mesh.edit("{nodeMeshMaxRestartTime: 2s}", "{nodeMeshMaxRestartTime: 2s, peers: [{peerIP: 192.168.59.200}]}")
    for host in NODES:
        kill(bird_of(mesh, host))
    mesh.up()
    mesh.sh("node1", "ip route flush proto bird")
    until(lambda: len(mesh.bird_routes("node1")) == 3, 15)
    mesh.edit(", peers: [{peerIP: 192.168.59.200}]", "")


def test_bird_has_three_capabilities_and_only_root_may_ask_it(mesh: Mesh) -> None:
    status = Path(f"/proc/{bird_of(mesh, 'node1')}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    wanted = f"{1 << 10 | 1 << 12 | 1 << 13:016x}"
    assert [fields[f"Cap{one}"] for one in ("Prm", "Eff", "Bnd")] == [wanted] * 3
    assert fields["NoNewPrivs"] == "1"
    control = RUN / mesh.name / "nodes/node1/bird/bird.ctl"
    assert (control.stat().st_uid, control.stat().st_mode & 0o007) == (0, 0)
    assert (RUN / mesh.name).stat().st_mode & 0o077 == 0


def test_its_parent_may_be_killed(mesh: Mesh) -> None:
    """The next nslab-node takes the running BIRD over."""
    before = bird_of(mesh, "node1")
    kill(mesh.pids()["node1 node"])
    mesh.up()
    assert bird_of(mesh, "node1") == before
    assert mesh.info("node1") == ["Established"] * 2
    done = nslab("exec", f"{mesh.name}/node1", "--", "birdcl", "show", "protocols")
    assert done.stdout.count("Established") == 2, done.stderr


def test_a_pipe_in_the_way_of_its_configuration_holds_nobody_up(mesh: Mesh) -> None:
    folder = RUN / mesh.name / "nodes/node1/bird"
    (folder / "bird.conf").write_text("")
    os.mkfifo(folder / "bird.conf.new")
    mesh.up()
    assert mesh.differences() == []


def test_a_wrong_autonomous_system_is_seen_on_both_sides_and_mended(mesh: Mesh) -> None:
    edit = "sed -i 's/neighbor 192.168.59.23 as 64512/neighbor 192.168.59.23 as 65000/' /run/bird/bird.conf"
    done = nslab("exec", f"{mesh.name}/node1", "--", "sh", "-c", f"{edit} && birdcl configure")
    assert "Reconfiguration" in done.stdout, done.stderr
    until(lambda: "Idle BGP Error: Bad peer AS" in mesh.info("node1"))
    until(lambda: "Idle Received: Bad peer AS" in mesh.info("node2"))
    assert "node1's BIRD has another configuration (/run/bird/bird.conf)" in mesh.differences()
    mesh.up()
    assert "node1's BIRD has another configuration (/run/bird/bird.conf)" not in mesh.differences()
