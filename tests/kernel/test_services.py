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

from nslab.linux.netns import Namespaces
from nslab.linux.processes.control import ControlClient
from nslab.objects.names import netns
from tests.kernel.labkit import OwnLab, nslab
from tests.slow import SLOW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from nslab.pytest_plugin.running import RunningLab

pytestmark = [pytest.mark.root, pytest.mark.lab("services-iptables", scope="module")]
in_each_mode = pytest.mark.parametrize(
    "mode",
    [
        pytest.param(mode, marks=pytest.mark.lab(f"services-{mode}", scope="module"))
        for mode in ("iptables", "nftables", "userspace")
    ],
)
WEB = ("10.103.9.116", 80)
EXTRA = """
apiVersion: v1
kind: Service
metadata: {name: extra}
spec: {clusterIP: 10.103.9.200, selector: {app: web}, ports: [{port: 80, targetPort: http}]}
"""


@pytest.fixture
def own(lab: RunningLab, request: pytest.FixtureRequest) -> Iterator[RunningLab]:
    """The marker's lab, up; whatever a test made of it, its file makes of it what it was."""
    yield lab
    marker = request.node.get_closest_marker("lab")
    assert marker
    lab.up(*marker.args)
    assert lab.diff() == []


class Line:
    """An HTTP connection that stays open, from a host to a Service."""

    def __init__(self, own: RunningLab, host: str, where: tuple[str, int] = WEB) -> None:
        with Namespaces() as spaces:
            spaces.enter(netns(own.name, host))
            self._socket = socket.create_connection(where, timeout=5)

    def asks(self, path: str = "/hostname") -> str:
        """What the server answers."""
        self._socket.sendall(f"GET {path} HTTP/1.1\r\nHost: web\r\n\r\n".encode())
        output = b""
        while not (
            match := re.search(rb"content-length: (\d+)\r\n(?:.*\r\n)*\r\n(.*)", output, re.IGNORECASE | re.DOTALL)
        ) or len(match[2]) < int(match[1]):
            block = self._socket.recv(1 << 16)
            assert block, "the connection was cut"
            output += block
        return match[2].decode()

    def close(self) -> None:
        self._socket.close()


def asked(own: RunningLab, host: str, where: tuple[str, int] = WEB, path: str = "/hostname") -> str:
    """One answer, over a connection of its own."""
    line = Line(own, host, where)
    try:
        return line.asks(path)
    finally:
        line.close()


def webs(own: RunningLab) -> list[str]:
    """The replicas that Services may send to, once every node's kube-proxy has followed."""
    known: dict[str, Any] = {}

    def followed() -> bool:
        known.update(line.get())
        return all(proxy.get("generation") == known["generation"] for proxy in known["proxies"].values())

    with ControlClient(own.name) as line:
        own.wait(followed)
    (web,) = [one for one in known["services"] if one["name"] == "web"]
    return sorted(end["pod"] for end in web["ports"][0]["endpoints"] if end.get("ready", True))


def test_a_deployment_stands_for_one_of_its_pods_and_its_bare_name_is_recognized(lab: RunningLab) -> None:
    done = nslab("exec", f"{lab.name}/deployment/web", "--", "hostname")
    assert done.stdout.startswith("web-"), done.stderr
    assert done.stderr == f"Found 4 pods, using pod/{done.stdout}"
    for verb in ("logs", "shell"):
        assert nslab(verb, f"{lab.name}/web").stderr.endswith(f"; did you mean {lab.name}/deployment/web?\n")


@in_each_mode
def test_all_replicas_answer_by_the_service_by_name_and_by_node_port(own: RunningLab, mode: str) -> None:
    pods = {name.partition("/")[2] for name in webs(own)}
    assert len(pods) == 4
    seen = {asked(own, "box-1") for _ in range(40)}
    assert seen == pods
    assert asked(own, "client", ("192.168.59.23", 31080)) in pods
    curl = nslab("exec", f"{own.name}/box-2", "--", "curl", "-sm5", "http://web/hostname")
    assert curl.stdout in pods
    assert own.diff() == []


@in_each_mode
def test_who_has_no_endpoints_refuses_at_once(own: RunningLab, mode: str) -> None:
    if mode == "userspace":
        with pytest.raises((ConnectionError, AssertionError)):
            asked(own, "box-1", ("10.103.9.118", 80))
        return
    with pytest.raises(ConnectionRefusedError):
        asked(own, "box-1", ("10.103.9.118", 80))


@in_each_mode
def test_affinity_keeps_a_client_with_its_endpoint(own: RunningLab, mode: str) -> None:
    assert len({asked(own, "box-1", ("10.103.9.117", 80)) for _ in range(20)}) == 1


@in_each_mode
def test_changes_do_not_cut_connections_to_pods_that_stay(own: RunningLab, mode: str) -> None:
    first = {asked(own, "box-1") for _ in range(1)}
    lines = [Line(own, "box-1"), Line(own, "client", ("192.168.59.22", 31080))]
    before = [line.asks() for line in lines]
    turns: tuple[Callable[[], list[str]], ...] = (
        lambda: own.apply(EXTRA),
        lambda: own.scale("web", 5),
        lambda: own.delete("service/extra"),
        lambda: own.scale("web", 4),
    )
    for number in range(52 if SLOW else 12):
        turns[number % 4]()
        assert [line.asks() for line in lines] == before, f"after change {number}"
    for line in lines:
        line.close()
    assert len(webs(own)) == 4
    assert first <= {name.partition("/")[2] for name in webs(own)}
    assert own.diff() == []


def test_a_mode_leaves_nothing_behind_and_connections_live_on(own: RunningLab) -> None:
    line = Line(own, "box-1")
    before = line.asks()
    for mode in ("nftables", "iptables", "none", "nftables"):
        done = nslab("set", own.name, f"proxy-mode={mode}")
        assert done.returncode == 0, done.stderr
        assert "kube-proxy process" in done.stdout
        assert line.asks() == before
        assert own.diff() == []
        rules, table = (
            own.sh("node1", "iptables-save | grep -c KUBE- || true"),
            own.sh("node1", "nft list tables"),
        )
        assert (int(rules) > 0) == (mode == "iptables")
        assert ("kube-proxy" in table) == (mode == "nftables")
    line.close()


@pytest.mark.parametrize("victim", ["control control", "node1 kube-proxy", "node1 node"])
def test_whoever_is_killed_traffic_goes_on_and_up_brings_him_back(own: RunningLab, victim: str) -> None:
    line = Line(own, "box-1")
    before, shown = line.asks(), webs(own)
    os.kill(own.processes()[victim], signal.SIGKILL)
    own.wait(lambda: victim not in own.processes())
    assert line.asks() == before
    assert asked(own, "box-1")
    (output,) = own.diff()
    assert ("control" in output) == (victim == "control control")
    assert "mended" in nslab("up", own.name).stdout
    assert victim in own.processes()
    own.wait(lambda: webs(own) == shown)
    assert own.diff() == []
    own.scale("web", 2)
    assert len(webs(own)) == 2
    line.close()


def test_up_mends_a_lab_by_its_name(own: RunningLab) -> None:
    own.apply(EXTRA)
    os.kill(own.processes()["control control"], signal.SIGKILL)
    own.wait(lambda: "control control" not in own.processes())
    done = nslab("up", own.name)
    assert (done.returncode, done.stderr) == (0, "")
    assert "mended" in done.stdout
    assert "control control" in own.processes()
    assert asked(own, "box-1", ("10.103.9.200", 80))  # what was applied is part of the wish
    assert own.diff() == []


@pytest.mark.parametrize("victim", ["control control", "node1 node"])
def test_a_change_brings_back_whom_it_needs(own: RunningLab, victim: str) -> None:
    os.kill(own.processes()[victim], signal.SIGKILL)
    own.wait(lambda: victim not in own.processes())
    own.apply(EXTRA)
    assert victim in own.processes()
    assert asked(own, "box-1", ("10.103.9.200", 80))
    assert own.diff() == []


def test_a_pod_that_is_not_ready_is_no_endpoint_and_comes_back(own: RunningLab) -> None:
    pod = webs(own)[0].partition("/")[2]
    pid = own.processes()[f"{pod} container/app"]
    os.kill(pid, signal.SIGSTOP)
    try:
        own.wait(lambda: len(webs(own)) == 3, 20)
        assert pod not in {asked(own, "box-1") for _ in range(20)}
        assert "0/1" in nslab("ps", own.name).stdout
        assert own.diff() == [f"{pod}: container app is stopped (process {pid})"]
    finally:
        os.kill(pid, signal.SIGCONT)
    own.wait(lambda: len(webs(own)) == 4, 20)
    own.wait(lambda: asked(own, "box-1") == pod)


def test_up_mends_rules_that_somebody_changed(own: RunningLab) -> None:
    services = own.sh("node1", "iptables-save -t nat | grep -- '-A KUBE-SERVICES.*default/web:http cluster IP'")
    own.sh("node1", f"iptables -t nat {services.replace('-A', '-D', 1)}")
    own.sh("node2", "iptables -t nat -F KUBE-POSTROUTING")
    lines = own.diff()
    assert any("default/web:http cluster IP" in line and line.startswith("node1") for line in lines)
    assert any("KUBE-POSTROUTING" in line and line.startswith("node2") for line in lines)
    own.mend()
    assert own.diff() == []
    assert asked(own, "box-1")


def test_the_command_lines_words_are_kubectls(own: RunningLab, tmp_path: Path) -> None:
    file = tmp_path / "extra.yaml"
    file.write_text(EXTRA)
    apply = ("apply", own.name, "-f", file)
    assert nslab(*apply).stdout == "service/extra created\n"
    assert nslab(*apply).stdout == "service/extra unchanged\n"
    assert nslab("apply", own.name, "-f", "-", input=EXTRA.replace("port: 80", "port: 81")).stdout == (
        "service/extra configured\n"
    )
    assert asked(own, "box-1", ("10.103.9.200", 81))
    assert nslab("scale", own.name, "deployment/web", "--replicas", "1").stdout == "deployment.apps/web scaled\n"
    assert len(webs(own)) == 1
    assert nslab("delete", own.name, "service", "extra").stdout == 'service "extra" deleted\n'
    gone = nslab("delete", own.name, "service/extra")
    # Before, it may say that it waits: the pods that `scale` took away end in a process of their own.
    assert (gone.returncode, gone.stderr.splitlines()[-1:]) == (
        2, ['nslab: Error from server (NotFound): services "extra" not found'],
    )  # fmt: skip
    taken = nslab("apply", own.name, "-f", "-", input=EXTRA.replace("10.103.9.200", "10.103.9.116"))
    assert taken.returncode == 2
    assert "provided IP is already allocated" in taken.stderr
    pods = json.loads(nslab("ps", own.name, "-o", "json").stdout)
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
