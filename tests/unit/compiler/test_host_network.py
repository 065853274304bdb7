"""Pods with hostNetwork: their node's network is theirs, so that no plugin wires them and no policy selects them."""

from __future__ import annotations

import pytest

from nslab.admission.load import parse
from nslab.compiler import compile_lab
from nslab.compiler.endpoints import resolve
from nslab.compiler.placement import assign_addresses
from nslab.compiler.policies import cluster
from nslab.lab.types import Plugin
from nslab.objects.attachment import Attachment
from nslab.objects.container import Sandbox
from nslab.objects.namespaces import Netns
from nslab.objects.needs import HostFeatures
from nslab.objects.plan import diff
from nslab.objects.script import commands, script
from nslab.probes import survey_services
from nslab.probes.pairs import meant
from nslab.trace.endpoints import source, target
from nslab.views.graph.build import graph
from nslab.views.tree import picture

LAB = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: small}
spec: {cni: {plugin: PLUGIN}, nodes: [{name: n1, podCIDR: 20.96.0.0/24}]}
---
apiVersion: v1
kind: Pod
metadata: {name: own, labels: {app: a}, annotations: {cni.projectcalico.org/ipAddrs: '["20.96.0.9"]'}}
spec:
  hostNetwork: true
  securityContext: {runAsUser: 1000}
  containers: [{name: c, image: agnhost, ports: [{containerPort: 80}]}]
---
apiVersion: v1
kind: Pod
metadata: {name: pod, labels: {app: a}}
spec: {containers: [{name: c, image: agnhost, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: a}, ports: [{port: 80}]}
"""
CONF = 'plugin: exec, config: \'{"cniVersion": "1.0.0", "name": "n", "type": "ptp"}\''
CALICO = LAB.replace("PLUGIN", "calico")


@pytest.mark.parametrize("plugin", [*Plugin])
def test_no_plugin_wires_it(plugin: Plugin) -> None:
    text = LAB.replace("plugin: PLUGIN", CONF) if plugin is Plugin.EXEC else LAB.replace("PLUGIN", plugin)
    text = text if plugin is Plugin.CALICO else text.replace(", annotations: {cni", ", annotations: {x")
    lab = assign_addresses(parse(text, "f"))
    state = compile_lab(lab, HostFeatures())
    assert [str(pod.assigned) for pod in lab.pods if pod.name == "own"] == ["192.168.59.22"]
    assert [obj.host for obj in state if isinstance(obj, Netns | Attachment) and obj.host == "own"] == []
    (sandbox,) = [obj for obj in state if isinstance(obj, Sandbox) and obj.pod == "own"]
    assert (sandbox.network, sandbox.hostname) == ("nslab.small.n1", "n1")
    assert [obj for obj in state if obj.ns == "nslab.small.own" and obj.unit != "process"] == []


def test_its_commands_join_the_node() -> None:
    state = compile_lab(assign_addresses(parse(CALICO, "f")), HostFeatures())
    plan = diff((), tuple(obj for obj in state if obj.ns == "nslab.small.own"))
    pause, server = (line for step in plan for line in commands(step))
    assert "ip netns exec nslab.small.n1 unshare --ipc sh -c 'exec sleep infinity'" in pause
    assert "nsenter --target ${pause[nslab.small.own]} --net --uts --ipc" in server
    assert "NETNS=nslab.small.n1 pause nslab.small.own n1\n" in script(plan, "", "nslab.small.")


def test_no_policy_selects_it_and_a_service_does() -> None:
    lab = assign_addresses(parse(CALICO, "f"))
    assert [one.name for one in cluster(lab).workloads] == ["pod"]
    (web,) = [one for one in resolve(lab) if one.name == "web"]
    assert [(end.ip, end.port) for end in web.ports[0].endpoints] == [("192.168.59.22", 80), ("20.96.0.1", 80)]


def test_a_packet_from_it_or_to_it_is_the_nodes() -> None:
    lab = assign_addresses(parse(CALICO, "f"))
    assert source(lab, "own") == source(lab, "default/own") == "n1"
    aim = target(lab, "own")
    assert (aim.host, str(aim.address), aim.port) == ("n1", "192.168.59.22", 80)


def test_who_asks_in_its_name_is_its_node() -> None:
    lab = assign_addresses(parse(CALICO, "f"))
    assert meant(lab, ["own", "default/own", "pod"]) == ("n1", "n1", "pod")
    assert {one.source for one in survey_services(lab, HostFeatures(), ["default/own"]).calls} == {"n1"}


def test_pictures_have_it_on_its_node() -> None:
    lab = assign_addresses(parse(CALICO, "f"))
    assert "hostNetwork  192.168.59.22" in picture(lab)
    drawn = graph(lab, compile_lab(lab, HostFeatures()))
    assert sorted(box.name for box in drawn.pods("n1")) == ["own (hostNetwork)", "pod"]
