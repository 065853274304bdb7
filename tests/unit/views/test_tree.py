from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from nslab.admission.load import load, parse
from nslab.compiler.placement import assign_addresses
from nslab.lab.find import find
from nslab.views.tree import ROOM, picture, title

if TYPE_CHECKING:
    from nslab.lab.types import Lab

BIG = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: big}
spec:
  cni: {plugin: calico, encapsulation: VXLAN}
  proxy: {mode: none}
  nodes: [NODES]
"""
POD = """\
---
apiVersion: v1
kind: Pod
metadata: {name: pod-%d}
spec: {containers: [{name: app, image: agnhost}]}
"""


def big(nodes: int, pods: int) -> Lab:
    names = ", ".join(f"{{name: n{number}}}" for number in range(nodes))
    return assign_addresses(
        parse(BIG.replace("NODES", names) + "".join(POD % number for number in range(pods)), "big.yaml")
    )


def test_the_picture_of_two_nodes() -> None:
    lab = assign_addresses(load(find("kubenet-two-node")))
    assert picture(lab).splitlines() == [
        "switch br0 192.168.59.1/24",
        "├─ client  eth0 192.168.59.10   outside the cluster",
        "├─ node1  eth0 192.168.59.22   cbr0 20.96.1.1/24",
        "│  ├─ vetha5717384 ── eth0 20.96.1.2  pod-a                 app:8080",
        "│  ├─ veth4da4b63a ── eth0 20.96.1.3  pod-b                 app:8080",
        "│  └─ veth2f404e6a ── eth0 20.96.1.4  kube-system/kube-dns  kubedns, dnsmasq:53",
        "└─ node2  eth0 192.168.59.23   cbr0 20.96.2.1/24",
        "   ├─ veth1ce4d73d ── eth0 20.96.2.2  pod-c  app:8080",
        "   └─ veth6c76c0a5 ── eth0 20.96.2.3  pod-d  app:8080",
        "",
        "Services (iptables mode)",
        "  svc-b                 10.103.9.116:8080, node port 31080  -> pod-b",
        "  kube-system/kube-dns  10.96.0.10:53/UDP                   -> kube-system/kube-dns",
        "  kube-system/kube-dns  10.96.0.10:53                       -> kube-system/kube-dns",
    ]
    assert title(lab) == "kubenet-two-node: kubenet; 2 nodes, 5 pods, 2 Services, 1 client"


def test_a_lab_without_pods_is_drawn() -> None:
    lab = replace(assign_addresses(load(find("pause-pod"))), pods=())
    assert picture(lab).splitlines() == ["switch br0 192.168.59.1/24", "└─ node1  eth0 192.168.59.22"]


@pytest.mark.parametrize(("nodes", "pods"), [(1, 60), (2, 100), (20, 1000), (40, 0)])
def test_a_large_lab_fits_a_screen(nodes: int, pods: int) -> None:
    drawn = picture(big(nodes, pods))
    assert drawn.count("\n") <= ROOM + 5
    assert " more " in drawn


def test_the_picture_of_two_subnets() -> None:
    lab = assign_addresses(load(find("calico-cross-subnet")))
    lines = [line for line in picture(lab).partition("\n\n")[0].splitlines() if "cali" not in line]
    assert lines == [
        "switch br0 192.168.59.0/24",
        "├─ router  eth0 192.168.59.1   router to 192.168.60.0/24",
        "├─ node1  eth0 192.168.59.22   tunl0 20.111.156.0 mtu 1480",
        "└─ node2  eth0 192.168.59.23   tunl0 20.109.131.0 mtu 1480",
        "switch br1 192.168.60.0/24",
        "├─ router  eth1 192.168.60.1   router to 192.168.59.0/24",
        "├─ client  eth0 192.168.60.10   outside the cluster",
        "└─ node3  eth0 192.168.60.24   tunl0 20.108.66.64 mtu 1480",
    ]
    knowing = replace(lab, routers=tuple(replace(router, bgp=True) for router in lab.routers))
    assert "router to 192.168.60.0/24, and to pods by BGP" in picture(knowing)
