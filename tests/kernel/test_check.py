"""`nslab check`: one thing taken away loses its goals and no others; what a learner made outlives all but `down`."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from nslab.lab.find import folder
from nslab.linux.netns import folder as kept
from nslab.linux.netns import named
from tests.kernel.labkit import left, nslab, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from nslab.pytest_plugin.running import RunningLab

pytestmark = pytest.mark.root

NETWORK = """
ip link add cni0 type bridge
ip addr add 20.96.{own}.1/24 dev cni0
ip link set cni0 up
for pod in {pods}; do
  ip link add veth-${{pod%:*}} type veth peer name eth0 netns pod-${{pod%:*}}
  ip link set veth-${{pod%:*}} master cni0 up
  ip -n pod-${{pod%:*}} addr add 20.96.{own}.${{pod#*:}}/24 dev eth0
  ip -n pod-${{pod%:*}} link set eth0 up
  ip -n pod-${{pod%:*}} route add default via 20.96.{own}.1
done
ip route add 20.96.{other}.0/24 via {via}
sysctl -qw net.ipv4.ip_forward=1
iptables -t nat -A POSTROUTING -s 20.96.{own}.0/24 ! -d 20.96.0.0/12 -j MASQUERADE
"""
RULES = """\
*nat
:SERVICES -
:WEB -
:ONE -
:TWO -
:OUTSIDE -
:MARK-MASQ -
-A PREROUTING -j SERVICES
-A OUTPUT -j SERVICES
-A POSTROUTING -m mark --mark 0x1/0x1 -j MASQUERADE
-A SERVICES -d 10.103.9.116 -p tcp --dport 80 -j WEB
-A SERVICES -m addrtype --dst-type LOCAL -p tcp --dport 31080 -j OUTSIDE
-A OUTSIDE -j MARK-MASQ
-A OUTSIDE -j WEB
-A WEB -m statistic --mode random --probability 0.5 -j ONE
-A WEB -j TWO
-A ONE -s 20.96.1.2 -j MARK-MASQ
-A ONE -p tcp -j DNAT --to-destination 20.96.1.2:8080
-A TWO -s 20.96.2.2 -j MARK-MASQ
-A TWO -p tcp -j DNAT --to-destination 20.96.2.2:8080
-A MARK-MASQ -j MARK --or-mark 0x1
COMMIT
*filter
-A FORWARD -d 10.103.9.117 -p tcp --dport 80 -j REJECT
-A OUTPUT -d 10.103.9.117 -p tcp --dport 80 -j REJECT
COMMIT
"""


def typed(lab: RunningLab, node: str, script: str) -> None:
    """A script in a shell of a node."""
    lab.node(node).run("sh", "-ec", script)


def missing(lab: RunningLab) -> set[str]:
    """The goals that are not reached."""
    return {goal for goal, there in lab.check().items() if not there}


CNI = pytest.mark.lab("by-hand-cni", scope="module")
SERVICE = pytest.mark.lab("by-hand-service", scope="module")
BUILT: set[str] = set()
"""The labs in which everything is built already: all tests of a kind share one."""


@pytest.fixture
def cni(lab: RunningLab) -> RunningLab:
    """The lab by-hand-cni, done but for what is extra."""
    if lab.name not in BUILT:
        typed(lab, "node1", NETWORK.format(own=1, other=2, pods="a:2 b:3", via="192.168.59.23"))
        typed(lab, "node2", NETWORK.format(own=2, other=1, pods="c:2 d:3", via="192.168.59.22"))
        BUILT.add(lab.name)
    return lab


@pytest.fixture
def service(lab: RunningLab) -> RunningLab:
    """The lab by-hand-service, done."""
    if lab.name not in BUILT:
        for node in ("node1", "node2"):
            lab.node(node).run("iptables-restore", "--noflush", text=RULES)
        BUILT.add(lab.name)
    return lab


WIRES = {
    "no masquerading": (
        "iptables -t nat -D POSTROUTING 1",
        "iptables -t nat -A POSTROUTING -s 20.96.1.0/24 ! -d 20.96.0.0/12 -j MASQUERADE",
        {"outside"},
    ),
    "masquerading between pods": (
        "iptables -t nat -I POSTROUTING -s 20.96.1.0/24 -o eth0 -j MASQUERADE",
        "iptables -t nat -D POSTROUTING 1",
        {"across"},
    ),
    "no route": (
        "ip route del 20.96.2.0/24",
        "ip route add 20.96.2.0/24 via 192.168.59.23",
        {"across"},
    ),
    "a cable unplugged": (
        "ip link set veth-b nomaster",
        "ip link set veth-b master cni0",
        {"neighbours", "node", "way-out", "across", "outside"},
    ),
    "no forwarding": (
        "sysctl -qw net.ipv4.ip_forward=0",
        "sysctl -qw net.ipv4.ip_forward=1",
        {"across", "outside"},
    ),
}
DICE = "-m statistic --mode random --probability"
NAT = {
    "no hairpin": ("-D ONE 1", "-I ONE -s 20.96.1.2 -j MARK-MASQ", {"hairpin"}),
    "nothing for the node itself": ("-D OUTPUT -j SERVICES", "-A OUTPUT -j SERVICES", {"node"}),
    "the client seen": ("-D OUTSIDE 1", "-I OUTSIDE -j MARK-MASQ", {"node-port"}),
    "uneven dice": (f"-R WEB 1 {DICE} 0.9 -j ONE", f"-R WEB 1 {DICE} 0.5 -j ONE", {"both"}),
    "all masqueraded": ("-I WEB -j MARK-MASQ", "-D WEB 1", {"cluster-ip", "both"}),
    "no way in": ("-D PREROUTING 1", "-I PREROUTING -j SERVICES", {"cluster-ip", "both", "hairpin", "node-port"}),
}


@CNI
@pytest.mark.parametrize("what", WIRES)
def test_what_is_taken_from_the_network_is_what_is_missed(cni: RunningLab, what: str) -> None:
    broken, mended, goals = WIRES[what]
    assert missing(cni) == {"calico"}
    typed(cni, "node1", broken)
    try:
        assert missing(cni) == {*goals, "calico"}
    finally:
        typed(cni, "node1", mended)


@SERVICE
@pytest.mark.parametrize("what", NAT)
def test_what_is_taken_from_the_rules_is_what_is_missed(service: RunningLab, what: str) -> None:
    broken, mended, goals = NAT[what]
    assert missing(service) == set()
    typed(service, "node1", f"iptables -t nat {broken}")
    try:
        assert missing(service) == goals
    finally:
        typed(service, "node1", f"iptables -t nat {mended}")


@SERVICE
def test_a_refusal_is_no_silence_and_the_second_node_is_asked_too(service: RunningLab) -> None:
    rule = "FORWARD -d 10.103.9.117 -p tcp --dport 80 -j"
    typed(service, "node1", f"iptables -R FORWARD 1 {rule.removeprefix('FORWARD ')} DROP")
    assert missing(service) == {"refused"}
    typed(service, "node1", f"iptables -R FORWARD 1 {rule.removeprefix('FORWARD ')} REJECT")
    typed(service, "node2", "iptables -t nat -D PREROUTING 1")
    assert missing(service) == {"second-node"}
    typed(service, "node2", "iptables -t nat -I PREROUTING -j SERVICES")


@CNI
def test_up_leaves_alone_what_was_made_by_hand_and_mends_what_was_not(cni: RunningLab) -> None:
    routes = cni.sh("node1", "ip route")
    assert cni.mend() == []
    typed(cni, "node1", "ip route del default")
    assert any("default" in line or "0.0.0.0/0" in line for line in cni.mend())
    assert cni.sh("node1", "ip route") == routes
    assert missing(cni) == {"calico"}


@CNI
def test_a_node_that_comes_back_knows_its_pods_namespaces_by_name(cni: RunningLab) -> None:
    running = cni.processes()
    for victim in ("pod-a pause", "node2 node"):
        os.kill(running[victim], signal.SIGKILL)
        until(lambda victim=victim: cni.processes().get(victim) != running[victim])  # type: ignore[misc]
    cni.mend()
    for node, pods in (("node1", ["pod-a", "pod-b"]), ("node2", ["pod-c", "pod-d"])):
        assert sorted(os_names(cni, node)) == pods
        for pod in pods:
            typed(cni, node, f"ip -n {pod} link show eth0")
    until(lambda: missing(cni) == {"calico"})


def os_names(lab: RunningLab, node: str) -> list[str]:
    """What `ip netns` lists in a shell of a node."""
    return [line.split()[0] for line in lab.node(node).run("ip", "netns").stdout.splitlines()]


@CNI
def test_machines_read_it_too_and_people_in_their_language(cni: RunningLab) -> None:
    suite = ET.fromstring(nslab("check", cni.name, "-o", "junit").stdout)
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("7", "0", "1")
    assert json.loads(nslab("check", cni.name, "-o", "json").stdout)["done"] is True
    korean = nslab("check", cni.name, "--lang", "ko").stdout
    assert korean.startswith("통과  1  node1의 Pod끼리 통신한다\n")
    assert "목표 6개 중 6개 통과, 추가 목표 1개 중 0개\n" in korean


@CNI
def test_goals_of_another_file(cni: RunningLab, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    text = (folder() / "by-hand-cni" / "check.yaml").read_text()
    mine.write_text(text.replace("seenAs: pod-a", "seenAs: node1"))
    done = nslab("check", cni.name, "-f", mine)
    assert done.returncode == 1
    assert "pod-a asks pod-b:8080 by http: the server sees 20.96.1.2; it should be an address of node1" in done.stdout
    mine.write_text(text.replace("from: pod-a,", "from: pod-z,", 1))
    done = nslab("check", cni.name, "-f", mine)
    assert done.returncode == 2
    assert f"{mine}:14:14: the lab has no host pod-z; did you mean" in done.stderr


@pytest.mark.lab("pause-pod")
def test_a_lab_without_goals_says_what_to_do_instead(lab: RunningLab) -> None:
    done = nslab("check", lab.name)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{lab.name} is not an exercise" in done.stderr
    assert f"nslab probe {lab.name}" in done.stderr


def test_a_lab_that_is_not_up_cannot_be_checked() -> None:
    done = nslab("check", "no-such-lab")
    assert (done.returncode, done.stderr.count("no running lab")) == (2, 1)


@pytest.fixture
def own(tmp_path: Path, lab_name: Callable[[], str]) -> tuple[str, Path]:
    """An exercise in a folder of one's own: the lab's name, and the folder."""
    name = lab_name()
    for file in ("lab.yaml", "check.yaml"):
        text = (folder() / "by-hand-cni" / file).read_text()
        (tmp_path / file).write_text(text.replace("name: by-hand-cni", f"name: {name}"))
    return name, tmp_path


def test_goals_beside_a_lab_are_kept_with_it_and_go_with_it(own: tuple[str, Path]) -> None:
    name, home = own
    assert nslab("up", home).returncode == 0
    assert (kept(name) / "check.yaml").read_text() == (home / "check.yaml").read_text()
    assert "0 of 6 goals reached" in nslab("check", name).stdout
    (home / "check.yaml").unlink()
    assert nslab("up", name).returncode == 0, "by its name alone: nothing of it was wished otherwise"
    assert "0 of 6 goals reached" in nslab("check", name).stdout
    assert nslab("up", home).returncode == 0
    assert "is not an exercise" in nslab("check", name).stderr


def test_up_refuses_wrong_goals_before_it_makes_anything(own: tuple[str, Path]) -> None:
    name, home = own
    goals = home / "check.yaml"
    goals.write_text(goals.read_text().replace("by: http", "by: ftp", 1))
    done = nslab("up", home)
    assert done.returncode == 2
    assert "check.yaml:14:" in done.stderr
    assert "unknown value ftp; did you mean " in done.stderr
    assert named(name) == []


def test_down_takes_what_was_made_by_hand_along(own: tuple[str, Path]) -> None:
    name, home = own
    nslab("up", home)
    script = (
        "ip netns add mine; ip link add v0 type veth peer name v1 netns mine; ip netns exec mine sleep 300 >&- 2>&- &"
    )
    assert nslab("exec", f"{name}/node1", "--", "sh", "-ec", script).returncode == 0
    assert nslab("down", name).returncode == 0
    assert left(name) == []
    assert not os.path.exists("/run/netns/mine")


GOALS = """\
apiVersion: nslab/v1
kind: Check
spec:
  goals:
  - id: across
    title: pods of both nodes reach each other
    asks: [{from: pod-d, to: "20.111.156.7:8080", by: http, seenAs: pod-d}]
  - id: loopback
    title: {en: pod-b reaches itself, ko: pod-b가 자기 자신과 통신한다}
    hint: look at lo
    asks: [{from: pod-b, to: pod-b}]
"""


@pytest.fixture
def repair(tmp_path: Path, lab_name: Callable[[], str]) -> tuple[str, Path]:
    """An exercise in repair: the lab's name, and its folder."""
    name = lab_name()
    text = (folder() / "calico-two-node" / "lab.yaml").read_text()
    (tmp_path / "lab.yaml").write_text(text.replace("name: calico-two-node", f"name: {name}"))
    (tmp_path / "check.yaml").write_text(GOALS)
    return name, tmp_path


def test_a_lost_goal_is_shown(repair: tuple[str, Path]) -> None:
    name, home = repair
    assert nslab("up", home).returncode == 0
    assert states(name) == {"across": "reached", "loopback": "reached"}
    script = "ip netns exec pod-b ip link set lo down"
    assert nslab("exec", f"{name}/node1", "--", "sh", "-ec", script).returncode == 0
    assert states(name) == {"across": "reached", "loopback": "lost"}
    shown = nslab("check", name)
    assert shown.returncode == 1
    assert "lost     2  pod-b reaches itself\n" in shown.stdout
    assert "Reached before, and lost again, 2: pod-b reaches itself" in shown.stdout
    assert "깨짐  2  pod-b가 자기 자신과 통신한다" in nslab("check", name, "--lang", "ko").stdout
    assert '"lost": true' not in nslab("check", name, "-f", home / "check.yaml", "-o", "json").stdout
    (home / "check.yaml").write_text(GOALS.replace("look at lo", "look at the loopback interface"))
    assert nslab("up", home).returncode == 0, "other goals: none of them was reached"
    nslab("exec", f"{name}/node1", "--", "sh", "-ec", script)
    assert states(name) == {"across": "reached", "loopback": "not yet"}


def states(name: str) -> dict[str, str]:
    """Each goal of a lab: reached, lost or not yet."""
    goals = json.loads(nslab("check", name, "-o", "json").stdout)["goals"]
    return {one["id"]: "reached" if one["reached"] else "lost" if one["lost"] else "not yet" for one in goals}
