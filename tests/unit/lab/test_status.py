"""What a running lab has given out, in the lab that takes its place."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

from nslab.admission.load import parse, parse_stored
from nslab.compiler.placement import assign_addresses
from nslab.lab.dump import dump
from nslab.lab.status import merge_status, with_released

if TYPE_CHECKING:
    from nslab.api.pod_types import Pod
    from nslab.lab.types import Lab

FILE = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: small}
spec:
  cni: {plugin: kubenet}
  nodes: [{name: n1, podCIDR: 20.96.1.0/29}, {name: n2, podCIDR: 20.96.2.0/29}]
"""
POD = """\
---
apiVersion: v1
kind: Pod
metadata: {name: %s}
spec: {nodeName: %s, containers: [{name: app, image: agnhost}]}
"""
DEPLOYMENT = """\
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: app, image: agnhost}]}
"""


def lab(*pods: tuple[str, str], more: str = "") -> Lab:
    return parse(FILE + "".join(POD % pod for pod in pods) + more, "small")


def named(of: Lab, name: str) -> Pod:
    return next(pod for pod in of.pods if pod.name == name)


def with_pod(of: Lab, name: str, **changes: object) -> Lab:
    pods = (replace(pod, **changes) if pod.name == name else pod for pod in of.pods)  # type: ignore[arg-type]
    return replace(of, pods=tuple(pods))


def test_a_uid_stays_unless_another_pod_says_that_it_has_it() -> None:
    kept = with_pod(assign_addresses(lab(("a", "n1"))), "a", uid="1234")
    assert named(merge_status(lab(("a", "n1"), ("b", "n1")), kept), "a").uid == "1234"
    new = lab(("a", "n1"), ("b", "n1"))
    taken = merge_status(with_pod(new, "b", uid="1234"), kept)
    assert named(taken, "b").uid == "1234"
    assert named(taken, "a").uid == named(new, "a").uid != "1234"


def test_an_allocator_goes_on_where_it_stopped_as_long_as_its_node_has_that_range() -> None:
    kept = assign_addresses(lab(("a", "n1"), ("b", "n1"), ("c", "n2")))
    assert dict(kept.last_reserved) == {"n1": IPv4Address("20.96.1.3"), "n2": IPv4Address("20.96.2.2")}
    assert merge_status(lab(), kept).last_reserved == kept.last_reserved
    first, second = lab().nodes
    moved = replace(lab(), nodes=(replace(first, pod_cidr=IPv4Network("20.96.3.0/29")), second))
    assert dict(merge_status(moved, kept).last_reserved) == {"n2": IPv4Address("20.96.2.2")}


def test_replicas_stay_on_their_nodes_if_there_is_room_for_all() -> None:
    """A /29 has five addresses for pods: the network's own, the bridge's and the last one are reserved."""
    ran = lab(more=DEPLOYMENT)
    ran = replace(ran, pods=tuple(replace(pod, node="n1") for pod in ran.pods))
    two = merge_status(lab(("x", "n1"), ("y", "n1"), more=DEPLOYMENT), ran)
    assert [pod.node for pod in two.pods if pod.owner] == ["n1"] * 3
    new = lab(("x", "n1"), ("y", "n1"), ("z", "n1"), more=DEPLOYMENT)
    assert merge_status(new, ran).pods == new.pods
    assign_addresses(merge_status(new, ran))


def test_calico_gives_an_address_again_when_there_is_no_other() -> None:
    """Each block has a list of what is unallocated: it takes the first, and what is given back goes to its end."""
    text = FILE.replace("plugin: kubenet", "plugin: calico, encapsulation: VXLAN").replace("/29", "/30")

    def following(kept: Lab | None, *pods: str) -> Lab:
        new = parse(text + "".join(POD % (name, "n1") for name in pods), "small")
        new = with_released(merge_status(new, kept), kept) if kept else new
        return parse_stored(dump(assign_addresses(new)), "small")

    made, given = following(None, "base"), []
    for number in range(5):
        made = following(made, "base", f"p{number}")
        given.append(str(named(made, f"p{number}").assigned))
        made = following(made, "base")
    assert given == ["20.96.1.2", "20.96.1.3", "20.96.1.2", "20.96.1.3", "20.96.1.2"]
    assert [str(address) for address in made.released] == ["20.96.1.3", "20.96.1.2"]
