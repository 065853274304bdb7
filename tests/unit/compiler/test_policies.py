"""What Felix knows of a lab, and writes on its nodes."""

from __future__ import annotations

import pytest

from nslab.admission.load import completed, parse
from nslab.compiler import compile_lab
from nslab.compiler.placement import assign_addresses
from nslab.compiler.policies import cluster, felix_node
from nslab.dataclass import replace
from nslab.errors import LabFileError
from nslab.lab.dump import documents
from nslab.lab.types import Encapsulation, Lab
from nslab.objects import names
from nslab.objects.ipset import IpSet, SetMember
from nslab.objects.iptables import InTable
from nslab.objects.needs import FULL, needs
from nslab.objects.nft import NftChain
from nslab.policy import felix
from nslab.policy.model import FelixNode, NamedPort, Namespace, WorkloadEndpoint
from nslab.policy.release import RELEASES

TEXT = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: lab}
spec:
  networks: {nodes: 192.168.59.0/24, pods: 20.96.0.0/12}
  cni: {plugin: calico, encapsulation: %s}
  nodes:
  - {name: node1, address: 192.168.59.22, podCIDR: 20.111.156.0/26}
  - {name: node2, address: 192.168.59.23, podCIDR: 20.109.131.0/26}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: a}}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec:
  nodeName: node2
  serviceAccountName: seller
  containers:
  - {name: a, image: agnhost, ports: [{containerPort: 80, name: http}, {containerPort: 81}]}
  - {name: b, image: agnhost, ports: [{containerPort: 53, name: dns, protocol: UDP}]}
"""


def lab_of(encapsulation: Encapsulation) -> Lab:
    return assign_addresses(parse(TEXT % encapsulation, "f"))


def test_what_is_known_of_a_lab() -> None:
    found = cluster(lab_of(Encapsulation.NONE))
    assert found.namespaces == (Namespace("shop", (("team", "a"),)),)
    assert found.pools == ("20.96.0.0/12",)
    (pod,) = found.workloads
    assert pod.interface == names.cali("shop", "web")
    assert pod == WorkloadEndpoint(
        "shop", "web", "20.109.131.0", "node2", (("app", "web"),), "seller",
        (NamedPort("http", 80), NamedPort("dns", 53, "UDP")),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("encapsulation", "addresses", "tunnel", "peers"),
    [
        (
            Encapsulation.IPIP,
            ("192.168.59.22", "20.111.156.0"),
            "tunl0",
            ("192.168.59.22", "192.168.59.23"),
        ),
        (
            Encapsulation.VXLAN_CROSS_SUBNET,
            ("192.168.59.22", "20.111.156.0"),
            "vxlan.calico",
            ("192.168.59.23",),
        ),
        (Encapsulation.NONE, ("192.168.59.22",), "", ("192.168.59.22", "192.168.59.23")),
    ],
)
def test_what_is_known_of_a_node(
    encapsulation: Encapsulation, addresses: tuple[str, ...], tunnel: str, peers: tuple[str, ...]
) -> None:
    lab = lab_of(encapsulation)
    assert felix_node(lab, lab.nodes[0]) == FelixNode("node1", addresses, tunnel, peers, "3.30")


@pytest.mark.parametrize("encapsulation", Encapsulation)
@pytest.mark.parametrize("release", RELEASES)
def test_all_that_felix_writes_is_in_the_state(encapsulation: Encapsulation, release: str) -> None:
    lab = replace(lab_of(encapsulation), calico_version=release)
    node = names.netns(lab.name, "node2")
    state = [obj for obj in compile_lab(lab, FULL) if obj.ns == node and obj.by == "Felix"]
    written = [obj.item() for obj in state if isinstance(obj, InTable)]
    written += [(("ipset", obj.name), (obj.type, obj.options)) for obj in state if isinstance(obj, IpSet)]
    written += [(("member", obj.set, obj.member), ()) for obj in state if isinstance(obj, SetMember)]
    assert dict(written) == felix.items(cluster(lab), felix_node(lab, lab.nodes[1]))
    assert len(written) == len(dict(written))


def test_the_file_names_the_release() -> None:
    old, new = (parse((TEXT % "IPIP").replace("plugin: calico", f"plugin: calico, calicoVersion: {one}"), "f")
                for one in ("3.28", '"3.30"'))  # fmt: skip
    assert (old.calico_version, new.calico_version, parse(TEXT % "IPIP", "f").calico_version) == (
        "3.28",
        "3.30",
        "3.30",
    )
    assert completed(documents(old), "f").calico_version == "3.28"


def test_the_file_names_the_dataplane() -> None:
    lab = parse((TEXT % "IPIP").replace("plugin: calico", "plugin: calico, dataplane: nftables"), "f")
    assert (lab.dataplane, completed(documents(lab), "f").dataplane) == ("nftables", "nftables")
    state = compile_lab(assign_addresses(lab), FULL)
    assert {obj.table for obj in state if isinstance(obj, NftChain) and obj.by == "Felix"} == {"calico"}
    assert not [obj for obj in state if isinstance(obj, InTable | IpSet) and obj.by == "Felix"]
    taken, other = needs(state), needs(compile_lab(assign_addresses(parse(TEXT % "IPIP", "f")), FULL))
    assert taken - other == {"nftables nat", "nftables fib"}
    assert other - taken == {"ipset", "rpfilter, CT, multiport"}


@pytest.mark.parametrize(
    ("cni", "why"),
    [
        (
            "{plugin: calico, dataplane: nftable}",
            "f:6:36: spec.cni.dataplane: unknown value nftable; did you mean nftables?",
        ),
        (
            "{plugin: calico, dataplane: nftables}\n  proxy: {mode: ipvs}",
            "f:6:36: Calico's dataplane nftables does not go with proxy mode ipvs; write dataplane: iptables",
        ),
        (
            "{plugin: flannel, dataplane: nftables}",
            "f:6:37: flannel has no Calico, and dataplane is that of its Felix; remove it, or use plugin: calico",
        ),
        (
            "{plugin: calico, calicoVersion: 3.31}",
            "f:6:40: spec.cni.calicoVersion: unknown value 3.31; did you mean 3.32?",
        ),
        (
            "{plugin: kubenet, calicoVersion: 3.30}",
            "f:6:41: kubenet has no Calico, and calicoVersion names a release of it; remove it, or use plugin: calico",
        ),
    ],
)  # fmt: skip
def test_a_release_that_there_is_not(cni: str, why: str) -> None:
    with pytest.raises(LabFileError) as caught:
        parse((TEXT % "IPIP").replace("{plugin: calico, encapsulation: IPIP}", cni), "f")
    assert str(caught.value) == why
