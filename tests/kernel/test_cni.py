"""Pods wired by real CNI plugins: what they make carries packets, is mended, and goes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nslab.compiler import compile_lab
from nslab.objects.needs import FULL
from nslab.objects.plan import diff
from nslab.objects.script import script
from tests.kernel import cnikit
from tests.kernel.cnikit import (
    BRIDGE,
    FOREIGN,
    LEASES,
    MARKS,
    ONE_NODE,
    PASS,
    PTP,
    cni,
    conf,
    inside,
    own_lab,
    plugin,
    probed,
    results,
)
from tests.kernel.labkit import ROOT, RUN, OwnLab, nslab, until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = MARKS
own = cnikit.own


@pytest.fixture(scope="module")
def bridged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnLab]:
    """The lab with bridge, host-local and portmap, up."""
    lab = own_lab(tmp_path_factory.mktemp("bridged"))
    try:
        cni(lab, BRIDGE)
        yield lab
    finally:
        nslab("down", lab.name)
    assert lab.left() == []


def test_the_plugins_answers_are_the_kernels(bridged: OwnLab) -> None:
    made = results(bridged.name)
    assert sorted(made) == ["kube-system_kube-dns", "pod-a", "pod-b", "pod-c", "pod-d"]
    for pod, result in made.items():
        (entry,) = json.loads(bridged.sh(pod, "ip -j -4 addr show eth0"))
        (address,) = entry["addr_info"]
        assert f"{address['local']}/{address['prefixlen']}" == result["ips"][0]["address"]
        (route,) = json.loads(bridged.sh(pod, "ip -j route show default"))
        assert route["gateway"] == result["ips"][0]["gateway"]
    assert [made[f"pod-{x}"]["ips"][0]["address"] for x in "abcd"] == [
        "20.96.1.2/24", "20.96.1.3/24", "20.96.2.2/24", "20.96.2.3/24",
    ]  # fmt: skip


def test_everybody_reaches_whom_they_should_and_services_work(bridged: OwnLab) -> None:
    probed(bridged)
    assert bridged.talks("pod-d", "10.103.9.116"), "a Service, by kube-proxy's rules"


def test_a_host_port_leads_to_its_pod(bridged: OwnLab) -> None:
    assert bridged.talks("client", "192.168.59.22", 8088)
    assert not bridged.talks("client", "192.168.59.23", 8088)
    rules = bridged.sh("node1", "iptables-save -t nat")
    assert "--dport 8088 -j DNAT --to-destination 20.96.1.2:8080" in rules


def test_a_check_that_was_never_content_is_told_and_not_heeded(own: OwnLab) -> None:
    output = cni(own, BRIDGE).stderr
    if not output:
        pytest.skip("this portmap's CHECK is content")
    assert output.startswith("nslab: CHECK fails right after a successful ADD, so nslab ignores this error: portmap")
    assert own.differences() == []


def test_what_plugins_remember_is_the_nodes(bridged: OwnLab) -> None:
    assert not Path(LEASES).exists()
    leases = [inside(bridged, node, "ls", LEASES).split() for node in ("node1", "node2")]
    assert leases[0] == ["20.96.1.2", "20.96.1.3", "20.96.1.4", "last_reserved_ip.0", "lock"]
    assert leases[1] == ["20.96.2.2", "20.96.2.3", "last_reserved_ip.0", "lock"]
    assert bridged.ns("pod-a") in inside(bridged, "node1", "ip", "netns")


HARM = {
    "unplugged": (
        "ip -j link show master cni0 | grep -o 'veth[0-9a-f]*' | xargs -n1 -I{} ip link set {} nomaster",
        "CHECK: bridge: error 999: CNI veth created for bridge cni0 was not found",
    ),
    "no cable": ("ip -j link show master cni0 | grep -o 'veth[0-9a-f]*' | xargs -n1 ip link del", "there is no eth0"),
    "no bridge": ("ip link del cni0", "CHECK: bridge: error 999: Interface name cni0 not found"),
}


@pytest.mark.parametrize("harm", HARM)
def test_what_was_broken_by_hand_is_found_by_check_and_mended(harm: str, bridged: OwnLab) -> None:
    command, output = HARM[harm]
    assert bridged.differences() == []
    bridged.sh("node1", command)
    pods = ("kube-system_kube-dns", "pod-a", "pod-b")
    assert bridged.differences() == [f"{pod}'s eth0 by CNI network pods (bridge, portmap): {output}" for pod in pods]
    done = nslab("up", bridged.name)
    assert done.returncode == 0, done.stderr
    assert bridged.differences() == []
    assert bridged.talks("pod-c", "20.96.1.2")
    assert bridged.talks("client", "192.168.59.22", 8088)


def test_a_pod_comes_and_goes(bridged: OwnLab, tmp_path: Path) -> None:
    spec = "spec: {nodeName: node1, containers: [{name: a, image: agnhost}]}"
    (tmp_path / "new.yaml").write_text(f"apiVersion: v1\nkind: Pod\nmetadata: {{name: new}}\n{spec}\n")
    assert nslab("apply", bridged.name, "-f", tmp_path / "new.yaml").returncode == 0
    assert bridged.talks("new", "20.96.2.2")
    assert "20.96.1.5" in inside(bridged, "node1", "ls", LEASES)
    assert nslab("delete", bridged.name, "pod/new").returncode == 0
    assert "20.96.1.5" not in inside(bridged, "node1", "ls", LEASES)
    assert bridged.ns("new") not in inside(bridged, "node1", "ip", "netns")
    assert bridged.differences() == []


def test_when_the_nodes_process_is_dead_plugins_are_asked_all_the_same(bridged: OwnLab) -> None:
    os.kill(bridged.pids()["node1 node"], signal.SIGKILL)
    until(lambda: "node1 node" not in bridged.pids())
    assert bridged.differences() == ["node1 has no nslab-node process (kubelet's)"]
    bridged.sh("node1", "ip link del cni0")
    assert len(bridged.differences()) == 4
    assert nslab("up", bridged.name).returncode == 0
    assert bridged.differences() == []
    assert bridged.talks("pod-c", "20.96.1.2")


def test_a_running_lab_is_rewired_and_back(own: OwnLab, tmp_path: Path) -> None:
    own.edit(", hostPort: 8088", "")
    own.up()
    (tmp_path / "ptp.conf").write_text(conf(PTP))
    output = cni(own.name, tmp_path / "ptp.conf").stdout
    assert "CNI network pods (ptp)" in output
    assert "pod-b                 node1  eth0       20.96.1.3/24  20.96.1.1  ptp" in output
    probed(own)
    assert "cbr0" not in own.sh("node1", "ip -br link")
    routes = {route["dst"] for route in json.loads(own.sh("node1", "ip -j route"))}
    assert {"20.96.1.2", "20.96.1.3", "20.96.1.4"} <= routes, "a route for each pod"
    cni(own.name, BRIDGE)
    probed(own)
    own.up()
    assert own.differences() == []
    probed(own)
    links = own.sh("node1", "ip -br link")
    assert ("cbr0" in links, "cni0" in links) == (True, False)


def test_the_plugins_choice_of_an_address_is_everybodys(own: OwnLab, tmp_path: Path) -> None:
    own.write(ONE_NODE.format(name=own.name, nodes="{name: node1}"))
    (tmp_path / "foreign.conf").write_text(conf(FOREIGN))
    own.up()
    web, shell = (results(own.name)[pod]["ips"][0]["address"].partition("/")[0] for pod in ("web", "shell"))
    assert web.startswith("10.22.0.")
    assert web in nslab("ps", own.name).stdout
    assert f"{web}:8080" in own.sh("node1", "iptables-save -t nat"), "the Service's endpoint"
    assert web in inside(own, "web", "cat", "/etc/hosts")
    asked = nslab("exec", f"{own.name}/shell", "--", "curl", "-s", "--max-time", "5", "http://web/clientip")
    # kube-proxy takes whom it does not find in --cluster-cidr for somebody outside.
    assert asked.stdout.startswith("10.22.0.1:"), f"{shell} asks by name"
    assert own.differences() == []
    assert "is as it should be" in own.up()


def test_plugins_run_where_a_runtime_runs_them_and_del_is_told_to_all(own: OwnLab, tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    plugin(folder, "scribe", f"{{ hostname; ip -br link show eth0; env; }} >{folder}/$CNI_COMMAND\n{PASS}")
    text = conf(json.loads(BRIDGE.read_text())["plugins"][0], {"type": "scribe", "capabilities": {"ipRanges": True}})
    (tmp_path / "x.conflist").write_text(text)
    cni(own, tmp_path / "x.conflist", "--plugin", folder / "scribe")
    output = (folder / "ADD").read_text()
    assert output.startswith("node2\neth0@")
    assert f"CNI_PATH={folder}:/usr/lib/cni:/usr/libexec/cni:/opt/cni/bin\n" in output
    assert f"CNI_NETNS=/run/netns/{own.ns('pod-d')}\n" in output
    calls = (folder / "log").read_text().splitlines()
    assert [line.split()[0] for line in calls] == ["ADD", "CHECK"] * 5
    own.down()
    calls = (folder / "log").read_text().splitlines()
    assert [line.split()[0] for line in calls[10:]] == ["DEL"] * 5
    assert {line.split()[2] for line in calls[10:]} == {line.split()[2] for line in calls[:10]}


def test_what_del_says_at_the_end_is_told_and_keeps_nothing(own: OwnLab, tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    plugin(folder, "clingy", f'test "$CNI_COMMAND ${{CNI_NETNS##*.}}" = "DEL pod-c" && exit 5\n{PASS}')
    (tmp_path / "x.conflist").write_text(conf(json.loads(BRIDGE.read_text())["plugins"][0], {"type": "clingy"}))
    cni(own, tmp_path / "x.conflist", "--plugin", folder)
    (RUN / own.name / "cni" / "pod-d.json").write_text("{}")
    done = nslab("down", own.name)
    assert done.returncode == 0
    assert done.stderr == (
        "nslab: CNI DEL of network pods for pod-c on node2: clingy ended with status 5 at DEL and printed no error\n"
    )
    assert own.left() == []


def test_a_plugin_built_anew_wires_anew(own: OwnLab, tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    plugin(folder, "mine", PASS)
    (tmp_path / "x.conflist").write_text(conf(json.loads(BRIDGE.read_text())["plugins"][0], {"type": "mine"}))
    cni(own, tmp_path / "x.conflist", "--plugin", folder)
    assert "; 0 steps" in cni(own.name, tmp_path / "x.conflist", "--plugin", folder).stdout
    plugin(folder, "mine", f"{PASS}# better\n")
    assert own.differences()[0].startswith("kube-system_kube-dns's eth0 by CNI network pods (bridge, mine)")
    assert "; 10 steps" in cni(own.name, tmp_path / "x.conflist", "--plugin", folder).stdout
    assert own.differences() == []


def test_the_plan_can_be_typed(own: OwnLab, tmp_path: Path) -> None:
    own.write(own.file.read_text().replace("plugin: kubenet", f"plugin: exec, conf: {BRIDGE}"))
    plan = diff((), compile_lab(own.lab(), FULL))
    text = script(plan, "A lab of the tests.", own.ns(""))
    environment = {**os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    try:
        done = subprocess.run(["bash"], input=text, capture_output=True, text=True, env=environment, timeout=60)
        assert (done.returncode, done.stdout + done.stderr) == (0, "")
        (entry,) = json.loads(own.sh("pod-d", "ip -j -4 addr show eth0"))
        assert entry["addr_info"][0]["local"] == "20.96.2.3"
        until(lambda: own.talks("pod-d", "20.96.1.2"))
        assert own.talks("client", "192.168.59.22", 8088)
    finally:
        head = script((), "", own.ns("")).splitlines()
        loop = "\n".join(line.removeprefix("#") for line in head if line.startswith("#   "))
        subprocess.run(["bash"], input=loop, text=True, check=True)
