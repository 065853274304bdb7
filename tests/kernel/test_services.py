"""Services of a running lab: changed, switched to other modes, bereaved of their processes; and traffic goes on."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from nslab.lab.change import applied, deleted, scaled
from nslab.linux import lifecycle
from nslab.linux.control import Control
from nslab.linux.netns import Namespaces
from tests.kernel.labkit import OwnLab, nslab, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from nslab.lab.types import Lab

pytestmark = pytest.mark.root
WEB = ("10.103.9.116", 80)
EXTRA = """
apiVersion: v1
kind: Service
metadata: {name: extra}
spec: {clusterIP: 10.103.9.200, selector: {app: web}, ports: [{port: 80, targetPort: http}]}
"""


@pytest.fixture(params=["iptables", "nftables", "userspace"])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def own(tmp_path: Path, mode: str) -> Iterator[OwnLab]:
    """The services lab in one mode, up."""
    lab = OwnLab(tmp_path, f"services-{mode}")
    try:
        lab.up()
        yield lab
    finally:
        nslab("down", lab.name)
    assert lab.left() == []


@pytest.fixture
def iptables(tmp_path: Path) -> Iterator[OwnLab]:
    """The services lab in iptables mode, up."""
    lab = OwnLab(tmp_path, "services-iptables")
    try:
        lab.up()
        yield lab
    finally:
        nslab("down", lab.name)
    assert lab.left() == []


class Line:
    """An HTTP connection that stays open, from a host to a Service."""

    def __init__(self, own: OwnLab, host: str, where: tuple[str, int] = WEB) -> None:
        with Namespaces() as spaces:
            spaces.enter(own.ns(host))
            self._socket = socket.create_connection(where, timeout=5)

    def asks(self, path: str = "/hostname") -> str:
        """What the server answers."""
        self._socket.sendall(f"GET {path} HTTP/1.1\r\nHost: web\r\n\r\n".encode())
        said = b""
        while not (
            match := re.search(rb"content-length: (\d+)\r\n(?:.*\r\n)*\r\n(.*)", said, re.IGNORECASE | re.DOTALL)
        ) or len(match[2]) < int(match[1]):
            block = self._socket.recv(1 << 16)
            assert block, "the connection was cut"
            said += block
        return match[2].decode()

    def close(self) -> None:
        self._socket.close()


def asked(own: OwnLab, host: str, where: tuple[str, int] = WEB, path: str = "/hostname") -> str:
    """One answer, over a connection of its own."""
    line = Line(own, host, where)
    try:
        return line.asks(path)
    finally:
        line.close()


def changed(own: OwnLab, decide: Callable[[Lab], tuple[Lab, tuple[str, ...]]]) -> lifecycle.Changed:
    """A change of the running lab, without a process of its own."""
    done = lifecycle.change(own.name, "change", decide, lambda _: None, lambda *_: None)
    assert (done.not_ready, done.late) == ([], ())
    return done


def webs(own: OwnLab) -> list[str]:
    """The replicas that Services may send to, once every node's kube-proxy has followed."""
    known: dict[str, Any] = {}

    def followed() -> bool:
        known.update(line.get())
        return all(proxy.get("generation") == known["generation"] for proxy in known["proxies"].values())

    with Control(own.name) as line:
        until(followed)
    (web,) = [one for one in known["services"] if one["name"] == "web"]
    return sorted(end["pod"] for end in web["ports"][0]["endpoints"] if end.get("ready", True))


def test_all_replicas_answer_by_the_service_by_name_and_by_node_port(own: OwnLab) -> None:
    pods = {name.partition("/")[2] for name in webs(own)}
    assert len(pods) == 4
    seen = {asked(own, "box-1") for _ in range(40)}
    assert seen == pods
    assert asked(own, "client", ("192.168.59.23", 31080)) in pods
    curl = nslab("exec", f"{own.name}/box-2", "--", "curl", "-sm5", "http://web/hostname")
    assert curl.stdout in pods
    assert own.differences() == []


def test_who_has_no_endpoints_refuses_at_once(own: OwnLab) -> None:
    if "userspace" in own.file.read_text().split("mode: ")[1][:10]:
        with pytest.raises((ConnectionError, AssertionError)):
            asked(own, "box-1", ("10.103.9.118", 80))
        return
    with pytest.raises(ConnectionRefusedError):
        asked(own, "box-1", ("10.103.9.118", 80))


def test_affinity_keeps_a_client_with_its_endpoint(own: OwnLab) -> None:
    assert len({asked(own, "box-1", ("10.103.9.117", 80)) for _ in range(20)}) == 1


def test_changes_do_not_cut_connections_to_pods_that_stay(own: OwnLab) -> None:
    first = {asked(own, "box-1") for _ in range(1)}
    lines = [Line(own, "box-1"), Line(own, "client", ("192.168.59.22", 31080))]
    before = [line.asks() for line in lines]
    turns: tuple[Callable[[Lab], tuple[Lab, tuple[str, ...]]], ...] = (
        lambda lab: applied(lab, EXTRA),
        lambda lab: scaled(lab, "deployment/web", 5),
        lambda lab: deleted(lab, ["service/extra"]),
        lambda lab: scaled(lab, "deployment/web", 4),
    )
    for number in range(52):
        changed(own, turns[number % 4])
        assert [line.asks() for line in lines] == before, f"after change {number}"
    for line in lines:
        line.close()
    assert len(webs(own)) == 4
    assert first <= {name.partition("/")[2] for name in webs(own)}
    assert own.differences() == []


def test_a_mode_leaves_nothing_behind_and_connections_live_on(iptables: OwnLab) -> None:
    line = Line(iptables, "box-1")
    before = line.asks()
    for mode in ("nftables", "iptables", "none", "nftables"):
        done = nslab("set", iptables.name, f"proxy-mode={mode}")
        assert done.returncode == 0, done.stderr
        assert "kube-proxy process" in done.stdout
        assert line.asks() == before
        assert iptables.differences() == []
        rules, table = (
            iptables.sh("node1", "iptables-save | grep -c KUBE- || true"),
            iptables.sh("node1", "nft list tables"),
        )
        assert (int(rules) > 0) == (mode == "iptables")
        assert ("kube-proxy" in table) == (mode == "nftables")
    line.close()


@pytest.mark.parametrize("victim", ["control control", "node1 kube-proxy", "node1 node"])
def test_whoever_is_killed_traffic_goes_on_and_up_brings_him_back(iptables: OwnLab, victim: str) -> None:
    line = Line(iptables, "box-1")
    before, told = line.asks(), webs(iptables)
    os.kill(iptables.pids()[victim], signal.SIGKILL)
    until(lambda: victim not in iptables.pids())
    assert line.asks() == before
    assert asked(iptables, "box-1")
    (said,) = iptables.differences()
    assert ("control" in said) == (victim == "control control")
    assert "mended" in iptables.up()
    assert victim in iptables.pids()
    until(lambda: webs(iptables) == told)
    assert iptables.differences() == []
    changed(iptables, lambda lab: scaled(lab, "deployment/web", 2))
    assert len(webs(iptables)) == 2
    line.close()


def test_up_mends_a_lab_by_its_name(iptables: OwnLab) -> None:
    changed(iptables, lambda lab: applied(lab, EXTRA))
    os.kill(iptables.pids()["control control"], signal.SIGKILL)
    until(lambda: "control control" not in iptables.pids())
    done = nslab("up", iptables.name)
    assert (done.returncode, done.stderr) == (0, "")
    assert "mended" in done.stdout
    assert "control control" in iptables.pids()
    assert asked(iptables, "box-1", ("10.103.9.200", 80))  # what was applied is part of the wish
    assert iptables.differences() == []


@pytest.mark.parametrize("victim", ["control control", "node1 kube-proxy", "node1 node"])
def test_a_change_brings_back_whom_it_needs(iptables: OwnLab, victim: str) -> None:
    os.kill(iptables.pids()[victim], signal.SIGKILL)
    until(lambda: victim not in iptables.pids())
    changed(iptables, lambda lab: applied(lab, EXTRA))
    assert victim in iptables.pids()
    assert asked(iptables, "box-1", ("10.103.9.200", 80))
    assert iptables.differences() == []


def test_a_pod_that_is_not_ready_is_no_endpoint_and_comes_back(iptables: OwnLab) -> None:
    pod = webs(iptables)[0].partition("/")[2]
    pid = iptables.pids()[f"{pod} container/app"]
    os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: len(webs(iptables)) == 3, 20)
        assert pod not in {asked(iptables, "box-1") for _ in range(20)}
        assert "0/1" in nslab("ps", iptables.name).stdout
        assert iptables.differences() == []
    finally:
        os.kill(pid, signal.SIGCONT)
    until(lambda: len(webs(iptables)) == 4, 20)
    until(lambda: asked(iptables, "box-1") == pod)


def test_up_mends_rules_that_somebody_changed(iptables: OwnLab) -> None:
    services = iptables.sh("node1", "iptables-save -t nat | grep -- '-A KUBE-SERVICES.*default/web:http cluster IP'")
    iptables.sh("node1", f"iptables -t nat {services.replace('-A', '-D', 1)}")
    iptables.sh("node2", "iptables -t nat -F KUBE-POSTROUTING")
    lines = iptables.differences()
    assert any("default/web:http cluster IP" in line and line.startswith("node1") for line in lines)
    assert any("KUBE-POSTROUTING" in line and line.startswith("node2") for line in lines)
    iptables.up()
    assert iptables.differences() == []
    assert asked(iptables, "box-1")


def test_the_command_lines_words_are_kubectls(iptables: OwnLab, tmp_path: Path) -> None:
    file = tmp_path / "extra.yaml"
    file.write_text(EXTRA)
    apply = ("apply", iptables.name, "-f", file)
    assert nslab(*apply).stdout == "service/extra created\n"
    assert nslab(*apply).stdout == "service/extra unchanged\n"
    assert nslab("apply", iptables.name, "-f", "-", input=EXTRA.replace("port: 80", "port: 81")).stdout == (
        "service/extra configured\n"
    )
    assert asked(iptables, "box-1", ("10.103.9.200", 81))
    assert nslab("scale", iptables.name, "deployment/web", "--replicas", "1").stdout == "deployment.apps/web scaled\n"
    assert len(webs(iptables)) == 1
    assert nslab("delete", iptables.name, "service", "extra").stdout == 'service "extra" deleted\n'
    gone = nslab("delete", iptables.name, "service/extra")
    assert (gone.returncode, gone.stderr) == (2, 'nslab: Error from server (NotFound): services "extra" not found\n')
    taken = nslab("apply", iptables.name, "-f", "-", input=EXTRA.replace("10.103.9.200", "10.103.9.116"))
    assert taken.returncode == 2
    assert "provided IP is already allocated" in taken.stderr
    pods = json.loads(nslab("ps", iptables.name, "-o", "json").stdout)
    assert sum(pod["name"].startswith("web-") for pod in pods) == 1


def test_ipvs_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    if subprocess.run(["test", "-d", "/sys/module/ip_vs"]).returncode == 0:
        pytest.skip("this kernel has ip_vs")
    lab = OwnLab(tmp_path, "services-ipvs")
    done = nslab("up", lab.file)
    assert done.returncode == 4
    assert "modprobe" in done.stderr
    assert "--proxy-mode" in done.stderr
    assert "nslab vm" in done.stderr
    assert lab.left() == []
