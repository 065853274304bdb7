"""The rules of hostPort, against what the CNI plugin portmap writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nslab.admission.load import load, load_with_warnings
from nslab.compiler import compile_lab
from nslab.compiler.placement import assign_addresses
from nslab.compiler.portmap import chain_name, container_id, new_udp_ports
from nslab.objects.iptables import Chain
from nslab.objects.needs import HostFeatures

if TYPE_CHECKING:
    from pathlib import Path

LAB = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: ports}
spec:
  cni: {plugin: PLUGIN}
  nodes: [{name: n1, podCIDR: 20.96.0.0/24}]
"""
POD = """\
---
apiVersion: v1
kind: Pod
metadata: {name: NAME}
spec:
  nodeName: n1
  containers: [{name: c, image: agnhost, ports: PORTS}]
"""
BOTH = "[{containerPort: 80, hostPort: 8080}, {containerPort: 53, hostPort: 5353, protocol: UDP}]"


def chains(tmp_path: Path, plugin: str, *pods: tuple[str, str]) -> tuple[dict[str, tuple[str, ...]], list[str], str]:
    """The chains of portmap, the warnings, and the first pod's sandbox."""
    file = tmp_path / "lab.yaml"
    written = (POD.replace("NAME", name).replace("PORTS", ports) for name, ports in pods)
    file.write_text(LAB.replace("PLUGIN", plugin) + "".join(written))
    lab, warnings = load_with_warnings(file)
    lab = assign_addresses(lab)
    found = {obj.name: obj.rules for obj in compile_lab(lab, HostFeatures()) if isinstance(obj, Chain)}
    ours = {name: rules for name, rules in found.items() if name.startswith("CNI-")}
    return ours, [one.sentence for one in warnings], container_id(lab, lab.pods[0])


def test_a_chain_has_the_name_that_portmap_gives_it() -> None:
    assert chain_name("k8s-pod-network", "abc") == "CNI-DN-2b50c12107aa174fcf96e"


def test_the_rules_of_a_pod_are_those_of_portmap(tmp_path: Path) -> None:
    found, _, container = chains(tmp_path, "calico", ("web", BOTH))
    name = chain_name("k8s-pod-network", container)
    assert found.pop(name) == (
        "-s 20.96.0.1/32 -p tcp -m tcp --dport 8080 -j CNI-HOSTPORT-SETMARK",
        "-s 127.0.0.1/32 -p tcp -m tcp --dport 8080 -j CNI-HOSTPORT-SETMARK",
        "-p tcp -m tcp --dport 8080 -j DNAT --to-destination 20.96.0.1:80",
        "-s 20.96.0.1/32 -p udp -m udp --dport 5353 -j CNI-HOSTPORT-SETMARK",
        "-s 127.0.0.1/32 -p udp -m udp --dport 5353 -j CNI-HOSTPORT-SETMARK",
        "-p udp -m udp --dport 5353 -j DNAT --to-destination 20.96.0.1:53",
    )
    comment = f'-m comment --comment "dnat name: \\"k8s-pod-network\\" id: \\"{container}\\""'
    assert found.pop("CNI-HOSTPORT-DNAT") == (
        f"-p tcp {comment} -m multiport --dports 8080 -j {name}",
        f"-p udp {comment} -m multiport --dports 5353 -j {name}",
    )
    assert {*found} == {"CNI-HOSTPORT-SETMARK", "CNI-HOSTPORT-MASQ"}


def test_flannel_s_pods_have_a_subnet(tmp_path: Path) -> None:
    found, _, container = chains(tmp_path, "flannel", ("web", BOTH))
    assert found[chain_name("cbr0", container)][0].startswith("-s 20.96.0.0/24 -p tcp ")


def test_a_match_of_multiport_takes_fifteen_ports(tmp_path: Path) -> None:
    ports = ", ".join(f"{{containerPort: {port}, hostPort: {port}}}" for port in range(8000, 8017))
    found, _, _ = chains(tmp_path, "calico", ("web", f"[{ports}]"))
    first, second = found["CNI-HOSTPORT-DNAT"]
    assert (first.count(","), "--dports 8015,8016 " in second) == (14, True)


def test_of_two_pods_the_first_has_the_port_and_the_second_is_named(tmp_path: Path) -> None:
    one = "[{containerPort: 80, hostPort: 8080}]"
    alone, quiet, _ = chains(tmp_path, "calico", ("web", one))
    both, warnings, _ = chains(tmp_path, "calico", ("web", one), ("two", one))
    assert both == alone
    assert (quiet, warnings) == ([], [
        "hostPort 8080/TCP does nothing: pod web of n1 has it, and a kubelet would reject a second one (NodePorts)"
    ])  # fmt: skip


def at(address: str, port: int = 80, protocol: str = "TCP") -> str:
    return f"[{{containerPort: {port}, hostPort: 8080, hostIP: {address}, protocol: {protocol}}}]"


def test_a_port_of_one_address_leads_to_the_pod_from_there_alone(tmp_path: Path) -> None:
    found, quiet, container = chains(tmp_path, "calico", ("web", at("192.168.59.22")))
    assert found[chain_name("k8s-pod-network", container)] == (
        "-s 20.96.0.1/32 -d 192.168.59.22/32 -p tcp -m tcp --dport 8080 -j CNI-HOSTPORT-SETMARK",
        "-s 127.0.0.1/32 -d 192.168.59.22/32 -p tcp -m tcp --dport 8080 -j CNI-HOSTPORT-SETMARK",
        "-d 192.168.59.22/32 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 20.96.0.1:80",
    )
    assert quiet == []


def test_the_unspecified_address_is_all_of_them(tmp_path: Path) -> None:
    everywhere = chains(tmp_path, "calico", ("web", "[{containerPort: 80, hostPort: 8080}]"))
    assert chains(tmp_path, "calico", ("web", at("0.0.0.0"))) == everywhere


def test_two_pods_share_a_port_at_two_addresses(tmp_path: Path) -> None:
    found, quiet, _ = chains(tmp_path, "calico", ("web", at("192.168.59.22")), ("own", at("127.0.0.1")))
    assert (len(found["CNI-HOSTPORT-DNAT"]), quiet) == (2, [])


@pytest.mark.parametrize("address", ["'fd00::1'", "'::'", "here"])
def test_an_address_of_another_family_is_pointed_out(tmp_path: Path, address: str) -> None:
    found, warnings, _ = chains(tmp_path, "calico", ("web", at(address)))
    assert found == {}
    text = f"hostPort 8080 does nothing: its hostIP {address.strip(chr(39))} is no IPv4 address"
    assert [one.partition(",")[0] for one in warnings] == [text]


def test_udp_ports_are_new_with_their_sandboxes(tmp_path: Path) -> None:
    file, text = tmp_path / "lab.yaml", LAB.replace("PLUGIN", "calico")
    pod = POD.replace("NAME", "web").replace("PORTS", BOTH)
    labs = []
    for written in (text, text + pod, text + pod.replace("{name: web", "{uid: a, name: web")):
        file.write_text(written)
        labs.append(load(file))
    none, one, another = labs
    assert new_udp_ports(none, one) == new_udp_ports(one, another) == [("nslab.ports.n1", 5353)]
    assert new_udp_ports(one, one) == new_udp_ports(one, none) == []


def test_a_lab_without_host_ports_has_no_chain_of_portmap(tmp_path: Path) -> None:
    assert chains(tmp_path, "calico", ("web", "[{containerPort: 80}]"))[0] == {}


def test_a_plugin_without_portmap_says_so(tmp_path: Path) -> None:
    found, warnings, _ = chains(tmp_path, "kubenet", ("web", BOTH))
    assert (found, [text.partition(":")[0] for text in warnings]) == (
        {}, ["hostPort 8080 does nothing", "hostPort 5353 does nothing"],
    )  # fmt: skip
