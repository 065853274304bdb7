"""What differs, a line each: causes, and not what only follows from them."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from nslab.admission.load import load
from nslab.cni.chain import Wiring
from nslab.cni.config import NetworkConfig
from nslab.compiler import compile_lab
from nslab.compiler.placement import assign_addresses
from nslab.lab.find import find
from nslab.lab.types import Encapsulation
from nslab.objects.attachment import Attachment
from nslab.objects.inet import Address
from nslab.objects.links import Veth
from nslab.objects.namespaces import Netns
from nslab.objects.needs import HostFeatures
from nslab.objects.neighbours import Fdb
from nslab.objects.plan import diff
from nslab.objects.process import KubeProxy
from nslab.objects.routes import Route
from nslab.objects.sysctl import Sysctl
from nslab.views.changes import changes, standing_still

if TYPE_CHECKING:
    from nslab.lab.types import Lab
    from nslab.objects.base import KernelObject, State


def lab(name: str = "calico-two-node") -> Lab:
    return assign_addresses(replace(load(find(name)), name="x"))


OF = lab()
WANT = compile_lab(OF, HostFeatures(ipip=False, ipip_fallback=False))
NODE1, POD_B = "nslab.x.node1", "nslab.x.pod-b"


def output(have: State, want: State = WANT, of: Lab = OF) -> list[str]:
    return changes(of, diff(have, want))


def without(kind: type[KernelObject], ns: str, **attributes: object) -> State:
    """What there is when one kind of thing of a namespace is gone."""
    gone = [
        obj
        for obj in WANT
        if isinstance(obj, kind) and obj.ns == ns and all(getattr(obj, name) == one for name, one in attributes.items())
    ]
    assert gone
    return tuple(obj for obj in WANT if obj not in gone)


def test_nothing() -> None:
    assert output(WANT) == []


def test_of_a_cable_that_is_gone_only_the_cable_is_told() -> None:
    (veth,) = (obj for obj in WANT if isinstance(obj, Veth) and POD_B in (obj.ns, obj.peer_ns))
    ends = {("Device", veth.ns, veth.name), ("Device", veth.peer_ns, veth.peer)}
    on_it = {obj.key for obj in WANT if ends & {*obj.requires}}
    assert {key[0] for key in on_it} > {"LinkUp", "Address", "Sysctl"}
    addressed = {("Addressed", veth.peer_ns, veth.peer), ("LinkUp", veth.ns, veth.name)}
    left = tuple(obj for obj in WANT if obj != veth and obj.key not in on_it and not addressed & {*obj.requires})
    assert output(left) == [f"node1 has no cable {veth.name} to pod-b's eth0 (the Calico CNI plugin's)"]


def test_of_what_is_made_anew_only_the_new_is_told() -> None:
    have = tuple(
        replace(obj, settings='{"mode": "ipvs"}') if isinstance(obj, KubeProxy) and obj.ns == NODE1 else obj
        for obj in WANT
    )
    assert output(have) == ["node1 has no kube-proxy process"]


def test_what_nobody_asked_for_is_told() -> None:
    stray = Sysctl(NODE1, "net/ipv4/conf/all/rp_filter", "2", "0")
    (line,) = output((*WANT, stray))
    assert line.startswith("node1 has net.ipv4.conf.all.rp_filter = 2")
    (line,) = output((*WANT, Netns("nslab.x.stray")))
    assert line.startswith("stray has a namespace")


def test_an_address_is_told_by_whom_it_leads_to() -> None:
    assert output(without(Route, NODE1, to=OF.nodes[1].pod_cidr)) == [
        f"node1 has no route to {OF.nodes[1].pod_cidr} (BIRD's): the way to the pods of node2"
    ]
    assert output(without(Address, POD_B))[0].startswith("pod-b has no address 20.111.156.7/32 on eth0")


def test_where_frames_for_a_tunnel_s_end_go_is_told_by_the_node() -> None:
    of = replace(OF, encapsulation=Encapsulation.VXLAN)
    want = compile_lab(of, HostFeatures())
    have = tuple(obj for obj in want if not (isinstance(obj, Fdb) and obj.ns == NODE1))
    (line,) = output(have, want, of)
    assert line.endswith(": the way to node2")


def test_an_attachment_that_is_made_anew_is_told_once_with_its_fault() -> None:
    network = NetworkConfig("net", "1.0.0", ('{"type": "bridge"}',))
    wiring = Wiring(network, (), "pod-b", "/run/netns/b", "eth0", "", ())
    good = Attachment(POD_B, NODE1, wiring, IPv4Address("20.111.156.7"))
    spaces = (Netns(NODE1), Netns(POD_B))
    (line,) = output((*spaces, replace(good, fault="no such interface")), (*spaces, good))
    assert "no such interface" in line


def test_who_stands_still() -> None:
    (proxy,) = (obj for obj in WANT if isinstance(obj, KubeProxy) and obj.ns == NODE1)
    assert standing_still([(proxy, 42)]) == ["node1: kube-proxy process is stopped (process 42)"]
