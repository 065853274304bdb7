"""A lab file that names CNI plugins: read with its configuration, kept without the user's file, and what is wrong."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

import pytest

from nslab.admission.change import applied, scaled
from nslab.admission.load import load, load_with_warnings, parse_stored
from nslab.compiler import compile_lab
from nslab.compiler.placement import adopted, assign_addresses
from nslab.errors import LabFileError, UsageError
from nslab.lab.dump import dump
from nslab.lab.plugins import network_of
from nslab.lab.status import merge_status
from nslab.lab.types import Cni, Encapsulation, Plugin
from nslab.objects.attachment import Attachment
from nslab.objects.iptables import Jump
from nslab.objects.needs import FULL
from nslab.objects.routes import Route

if TYPE_CHECKING:
    from pathlib import Path

    from nslab.lab.types import Lab

CONF = '{"cniVersion": "1.0.0", "name": "pods", "type": "ptp", "ipam": {"subnet": "{{ node.podCIDR }}"}}'
LAB = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: a-lab}
spec:
  cni: {plugin: exec, conf: conf/ptp.conf, path: [bin, /opt/mine]}
  nodes: [{name: node1}, {name: node2}]
---
apiVersion: v1
kind: Pod
metadata: {name: pod-a}
spec:
  nodeName: node1
  containers:
  - {name: app, image: agnhost, ports: [{containerPort: 8080, hostPort: 8088}]}
---
apiVersion: v1
kind: Pod
metadata: {name: pod-b}
spec:
  nodeName: node2
  containers:
  - {name: app, image: agnhost, ports: [{containerPort: 8080}]}
"""


HOLES = "node.name, node.address, node.podCIDR, node.gateway, lab.name, lab.pods, lab.services"
PORT = "containers:\n  - {name: app, image: agnhost, ports: [{containerPort: 8080"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "ptp.conf").write_text(CONF)
    (tmp_path / "lab.yaml").write_text(LAB)
    return tmp_path / "lab.yaml"


def edited(file: Path, old: str, new: str) -> Path:
    assert old in LAB
    file.write_text(LAB.replace(old, new, 1))
    return file


def output(file: Path) -> list[str]:
    with pytest.raises(LabFileError) as caught:
        load(file)
    return [str(problem).removeprefix(f"{file.parent}/") for problem in caught.value.errors]


def attachments(lab: Lab) -> list[Attachment]:
    return [obj for obj in compile_lab(assign_addresses(lab), FULL) if isinstance(obj, Attachment)]


def test_the_configuration_lies_beside_the_lab_and_plugins_are_found_from_there(file: Path) -> None:
    lab = load(file)
    assert (lab.plugin, lab.encapsulation) == (Plugin.EXEC, Encapsulation.NONE)
    assert lab.cni == Cni(CONF, (f"{file.parent}/bin", "/opt/mine"))
    assert [str(node.pod_cidr) for node in lab.nodes] == ["20.96.0.0/24", "20.96.1.0/24"]


def test_what_is_kept_does_not_need_the_users_file(file: Path) -> None:
    lab = assign_addresses(load(edited(file, "/opt/mine]", "/opt/mine], routes: false")))
    (file.parent / "conf" / "ptp.conf").unlink()
    assert parse_stored(dump(lab), "kept.yaml") == lab
    assert lab.cni
    assert (lab.cni.routes, lab.cni.masquerade) == (False, True)


def test_each_node_has_its_own_range(file: Path) -> None:
    lab = load(file)
    assert ['"20.96.0.0/24"' in network_of(lab, node).plugins[0] for node in lab.nodes] == [True, False]
    first, second = attachments(lab)
    assert (first.ns, first.node) == ("nslab.a-lab.pod-a", "nslab.a-lab.node1")
    assert (str(first.address), str(second.address)) == ("20.96.0.2", "20.96.1.2")
    wiring = first.wiring
    assert (wiring.netns, wiring.ifname) == ("/run/netns/nslab.a-lab.pod-a", "eth0")
    assert wiring.path == (f"{file.parent}/bin", "/opt/mine", "/usr/lib/cni", "/usr/libexec/cni", "/opt/cni/bin")
    assert "K8S_POD_NAMESPACE=default;K8S_POD_NAME=pod-a;" in wiring.args
    assert '"hostPort": 8088, "containerPort": 8080, "protocol": "tcp"' in wiring.runtime
    assert "portMappings" not in second.wiring.runtime


def test_an_address_is_asked_for_only_of_who_gives_the_nodes_own(file: Path) -> None:
    assert [obj.wiring.asks for obj in attachments(load(file))] == [True, True]
    (file.parent / "conf" / "ptp.conf").write_text(CONF.replace("{{ node.podCIDR }}", "10.22.0.0/16"))
    assert [obj.wiring.asks for obj in attachments(load(file))] == [False, False]


def test_routes_and_masquerade_are_the_labs_unless_the_plugins_see_to_them(file: Path) -> None:
    def others(lab: Lab) -> list[str]:
        made = [obj for obj in compile_lab(assign_addresses(lab), FULL) if obj.by in ("cloud routes", "ip-masq-agent")]
        return [type(obj).__name__ for obj in made if isinstance(obj, Route | Jump)]

    assert others(load(file)) == ["Route", "Jump", "Route", "Jump"]
    assert others(load(edited(file, "/opt/mine]", "/opt/mine], routes: false, masquerade: false"))) == []


def test_another_lab_can_be_wired_by_plugins(file: Path) -> None:
    of_calico = LAB.replace("plugin: exec, conf: conf/ptp.conf, path: [bin, /opt/mine]", "plugin: calico")
    file.write_text(of_calico.replace(", hostPort: 8088", ""))
    assert load(file).cni is None
    setting = Cni(CONF, ("/bin",), masquerade=False)
    made = load(file, cni=setting)
    assert (made.plugin, made.encapsulation, made.cni) == (Plugin.EXEC, Encapsulation.NONE, setting)


def test_what_the_plugins_gave_is_the_pods(file: Path) -> None:
    lab = assign_addresses(load(file))
    foreign = IPv4Address("10.22.0.7")
    given = adopted(lab, {"nslab.a-lab.pod-a": foreign})
    assert [str(pod.assigned) for pod in given.pods] == ["10.22.0.7", "20.96.1.2"]
    assert parse_stored(dump(given), "kept.yaml") == given, "outside every podCIDR, and kept"
    again = assign_addresses(merge_status(load(file), given))
    assert again.pods == given.pods
    other = assign_addresses(merge_status(replace(load(file), cni=Cni(CONF.replace("ptp", "bridge"))), given))
    assert str(other.pods[0].assigned) == "20.96.0.3", "other plugins are asked anew"
    with pytest.raises(UsageError, match=r"gave 20\.96\.1\.2 to pod-a on node1 and to pod-b on node2; each node needs"):
        adopted(lab, {"nslab.a-lab.pod-a": IPv4Address("20.96.1.2")})


def test_a_running_lab_can_change(file: Path) -> None:
    lab = assign_addresses(load(file))
    pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: new}\nspec: {containers: [{name: a, image: agnhost}]}\n"
    made, _ = applied(lab, pod)
    assert made.cni == lab.cni
    assert [str(obj.address) for obj in attachments(made)] == ["20.96.0.2", "20.96.0.3", "20.96.1.2"]
    with pytest.raises(UsageError, match="not found"):
        scaled(made, ["deployment/web"], 1)


@pytest.mark.parametrize(
    ("old", "new", "problems"),
    [
        (
            "conf: conf/ptp.conf, ",
            "",
            ["lab.yaml:5:17: plugin exec needs the CNI plugins' configuration: conf: FILE"],
        ),
        (
            "conf/ptp.conf",
            "none.conf",
            ["lab.yaml:5:29: spec.cni.conf: none.conf cannot be read: No such file or directory"],
        ),
        ("conf/ptp.conf", "/dev/zero", ["lab.yaml:5:29: spec.cni.conf: /dev/zero is not a file"]),
        (
            "conf: conf/ptp.conf",
            "config: 'x'",
            [
                "lab.yaml:5:31: spec.cni.config: config: line 1, column 1: Expecting value",
            ],
        ),
        (
            "conf: conf/ptp.conf",
            """config: '{"name": "{{ node.cidr }}"}'""",
            [
                f"lab.yaml:5:31: spec.cni.config: config: unknown placeholder {{{{ node.cidr }}}}; there are {HOLES}",
            ],
        ),
        ("[bin,", "['/a:b',", ["lab.yaml:5:50: spec.cni.path: /a:b has a colon, as CNI_PATH cannot"]),
        (
            "plugin: exec",
            "plugin: exec, encapsulation: VXLAN",
            [
                "lab.yaml:5:38: exec has no encapsulation, and this asks for VXLAN; remove it, or use plugin: calico",
            ],
        ),
        (
            "plugin: exec, conf: conf/ptp.conf, path: [bin, /opt/mine]",
            "plugin: calico, conf: x, routes: false",
            [
                "lab.yaml:5:31: spec.cni.conf goes with plugin: exec; remove it",
                "lab.yaml:5:42: spec.cni.routes goes with plugin: exec; remove it",
            ],
        ),
        (
            f"nodeName: node2\n  {PORT}",
            f"nodeName: node1\n  {PORT}, hostPort: 8088",
            ["lab.yaml:22:73: two pods of node1 want its port 8088/TCP (see line 14)"],
        ),
    ],
)
def test_sentences(file: Path, old: str, new: str, problems: list[str]) -> None:
    found = [line.replace(f"{file.parent}/", "") for line in output(edited(file, old, new))]
    assert found == problems


def test_a_host_port_that_nobody_is_told_of_is_pointed_out(file: Path) -> None:
    _, warnings = load_with_warnings(file)
    text = "hostPort 8088 does nothing: no plugin has the capability portMappings (portmap would)"
    assert [warning.sentence for warning in warnings] == [text]
