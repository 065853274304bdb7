"""No network plugin: what a lab then consists of, and what of what is found is somebody's own work."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import TYPE_CHECKING

import pytest

from nslab.admission.load import load
from nslab.compiler import compile_lab
from nslab.compiler.networks import network
from nslab.compiler.networks.no_cni import sort_out
from nslab.compiler.placement import assign_addresses
from nslab.errors import LabFileError
from nslab.lab.find import folder
from nslab.lab.types import Encapsulation
from nslab.objects.inet import Address
from nslab.objects.needs import HostFeatures
from nslab.objects.plan import diff
from nslab.objects.ports import BridgePort
from nslab.objects.routes import Route
from nslab.objects.sysctl import Sysctl
from nslab.probes import Expected, Kind, survey
from nslab.views.tree import picture, title

if TYPE_CHECKING:
    from nslab.objects.base import KernelObject

LAB = assign_addresses(load(folder() / "by-hand-cni" / "lab.yaml"))
WANT = compile_lab(LAB, HostFeatures())
NODE, SWITCH = "nslab.by-hand-cni.node1", "nslab.by-hand-cni.switch"
ROUTE = IPv4Network("20.96.2.0/24"), "eth0", IPv4Address("192.168.59.23")


def test_pods_have_loopback_alone() -> None:
    there = [obj for obj in WANT if obj.ns == "nslab.by-hand-cni.pod-a"]
    assert [type(obj).__name__ for obj in there] == ["Netns", "LinkUp", "Sandbox", "Workload"]
    assert not [obj for obj in WANT if isinstance(obj, Address) and obj.address.ip in LAB.networks.pods]


def test_nodes_forward_nothing_whatever_the_machine_does() -> None:
    assert Sysctl(NODE, "net/ipv4/ip_forward", "0", "0") in WANT
    written = [step.obj.ns for step in diff((), WANT) if isinstance(step.obj, Sysctl) and step.obj.value == "0"]
    assert NODE in written, "a new namespace may have inherited another value"


def test_pods_are_given_addresses_as_by_host_local() -> None:
    assert [str(pod.assigned) for pod in LAB.pods] == ["20.96.1.2", "20.96.1.3", "20.96.2.2", "20.96.2.3"]


def test_what_a_learner_made_is_not_taken_away() -> None:
    made: list[KernelObject] = [
        Route(NODE, *ROUTE), Address(NODE, "eth0", IPv4Interface("20.96.1.1/24")), BridgePort(NODE, "eth0", "br0"),
    ]  # fmt: skip
    found = [*(obj for obj in WANT if not isinstance(obj, Sysctl)), *made]
    settings = [obj for obj in WANT if isinstance(obj, Sysctl)]
    changed = [Sysctl(obj.ns, obj.path, "1", obj.default) for obj in settings]
    ours, his = sort_out(LAB, [*found, *changed], WANT)
    assert his == made
    steps = diff(ours, WANT)
    assert {step.obj.ns for step in steps} <= {SWITCH}, "of settings, only the switch's are not a learner's"


def test_what_the_lab_made_is_mended() -> None:
    default = next(obj for obj in WANT if isinstance(obj, Route) and obj.ns == NODE)
    ours, _ = sort_out(LAB, [obj for obj in WANT if obj != default], WANT)
    assert [step.obj for step in diff(ours, WANT)] == [default]
    stray = Route(SWITCH, *ROUTE)
    ours, his = sort_out(LAB, [*WANT, stray], WANT)
    assert his == []
    assert [step.obj for step in diff(ours, WANT)] == [stray]


def test_probe_expects_what_holds_however_it_is_built() -> None:
    asked = survey(LAB, HostFeatures()).probes
    seen = {(probe.source, probe.target): str(probe.expected_source or "") for probe in asked if probe.kind is Kind.TCP}
    assert seen["pod-a", "pod-c"] == "20.96.1.2", "no translation between pods"
    assert seen["pod-a", "client"] == "192.168.59.22", "nor without it on the way out"
    assert (seen["node1", "pod-a"], seen["pod-a", "node2"]) == ("", ""), (
        "a bridge has an address, a bare cable has none"
    )
    blocked = {probe.pair for probe in asked if probe.expected is Expected.FAIL and probe.kind is not Kind.MTU}
    assert blocked == {("client", pod.name) for pod in LAB.pods}
    assert not [probe for probe in asked if probe.kind is Kind.MTU and "pod-a" in probe.pair]


def test_the_picture_shows_that_there_is_no_cable() -> None:
    assert title(LAB) == "by-hand-cni: no network plugin; 2 nodes, 4 pods, 1 client"
    assert "├─ (no cable)  20.96.1.2  pod-a  app:8080" in picture(LAB)


def test_without_a_plugin_there_is_no_encapsulation() -> None:
    with pytest.raises(LabFileError, match=r"without a plugin there is no encapsulation, and this asks for VXLAN"):
        load(folder() / "by-hand-cni" / "lab.yaml", Encapsulation.VXLAN)


def test_with_a_plugin_nothing_is_made_by_hand() -> None:
    lab = assign_addresses(load(folder() / "kubenet-two-node" / "lab.yaml"))
    stray = Route("nslab.kubenet-two-node.node1", *ROUTE)
    assert network(lab).sort_out(lab, [stray], ()) == ([stray], [])
