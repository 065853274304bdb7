"""Endpoints of a Service without a selector become EndpointSlices; and nothing else does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nslab.admission.change import applied, deleted
from nslab.admission.load import parse, parse_stored, parse_with_warnings
from nslab.admission.manifest import parse_manifest
from nslab.compiler.endpoints import resolve
from nslab.errors import LabFileError
from nslab.lab.dump import dump

if TYPE_CHECKING:
    from nslab.lab.types import Lab

LAB = "apiVersion: nslab/v1\nkind: Lab\nmetadata: {name: small}\nspec: {nodes: [{name: a}]}\n"
SERVICE = "---\napiVersion: v1\nkind: Service\nmetadata: {{name: db}}\nspec: {{{}ports: [{{name: sql, port: 5432}}]}}\n"
ENDPOINTS = "---\napiVersion: v1\nkind: Endpoints\nmetadata: {{name: db, labels: {{app: db{}}}}}\n"
SUBSETS = """\
subsets:
- addresses: [{ip: 192.168.59.100, nodeName: a}, {ip: 192.168.59.101, hostname: second}]
  notReadyAddresses: [{ip: 192.168.59.102}]
  ports: [{name: sql, port: 15432}]
"""
ALL = LAB + SERVICE.format("") + ENDPOINTS.format("") + SUBSETS


def ends(lab: Lab) -> list[tuple[str, int, bool]]:
    """The endpoints of the Service: address, port, and whether it is ready."""
    (service,) = (one for one in resolve(lab) if one.name == "db")
    return [(end.ip, end.port, end.ready) for end in service.ports[0].endpoints]


def test_a_service_without_a_selector_has_the_endpoints_that_the_file_says() -> None:
    lab, found = parse_with_warnings(ALL, "f")
    assert found == ()
    assert ends(lab) == [
        ("192.168.59.100", 15432, True),
        ("192.168.59.101", 15432, True),
        ("192.168.59.102", 15432, False),
    ]
    (one,) = lab.slices
    metadata = one.document["metadata"]
    assert metadata["labels"] == {
        "app": "db",
        "kubernetes.io/service-name": "db",
        "endpointslice.kubernetes.io/managed-by": "endpointslicemirroring-controller.k8s.io",
    }
    assert (one.name[:3], len(one.name)) == ("db-", 8)
    assert metadata["ownerReferences"] == [{"apiVersion": "v1", "kind": "Endpoints", "name": "db", "controller": True}]
    assert [each.get("hostname") for each in one.document["endpoints"]] == [None, "second", None]
    assert [kept.kind for kept in lab.others] == ["Endpoints"]
    assert parse_stored(dump(lab), "kept") == lab


def test_subsets_of_other_ports_are_slices_of_their_own_and_an_address_counts_once() -> None:
    more = SUBSETS + "- addresses: [{ip: 192.168.59.102}]\n  ports: [{name: sql, port: 15432}]\n"
    more += "- addresses: [{ip: 192.168.59.103}]\n  ports: [{name: sql, port: 7}]\n"
    more += "- addresses: [{ip: 'fd00::1'}]\n  ports: [{name: sql, port: 7}]\n"
    lab = parse(LAB + SERVICE.format("") + ENDPOINTS.format("") + more, "f")
    assert [(one.document["addressType"], len(one.document["endpoints"])) for one in lab.slices] == [
        ("IPv4", 3), ("IPv4", 1), ("IPv6", 1),
    ]  # fmt: skip
    assert ("192.168.59.102", 15432, True) in ends(lab)
    assert ("192.168.59.103", 7, True) in ends(lab)


@pytest.mark.parametrize("label", [", endpointslice.kubernetes.io/skip-mirror: 'true'", None])
def test_what_is_not_mirrored(label: str | None) -> None:
    leader = "\nmetadata: {name: db, annotations: {control-plane.alpha.kubernetes.io/leader: '{}'}}"
    endpoints = ENDPOINTS.format(label) if label else f"---\napiVersion: v1\nkind: Endpoints{leader}\n"
    lab = parse(LAB + SERVICE.format("") + endpoints + SUBSETS, "f")
    assert (lab.slices, ends(lab)) == ((), [])


def test_a_selector_leaves_them_to_the_endpoints_controller() -> None:
    lab = parse(LAB + SERVICE.format("selector: {app: web}, ") + ENDPOINTS.format("") + SUBSETS, "f")
    assert (lab.slices, lab.others) == ((), ())


def test_what_kubectl_printed_is_there_once() -> None:
    printed = parse(ALL, "f").slices[0]
    text = "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\nendpoints: []\n"
    text += f"metadata: {{name: db-xxxxx, labels: {printed.document['metadata']['labels']}}}\n"
    assert [one.name for one in parse(ALL + text, "f").slices] == [printed.name]
    assert [one.name for one in parse(LAB + SERVICE.format("") + text, "f").slices] == ["db-xxxxx"]


def test_endpoints_of_no_service_are_named() -> None:
    _, found = parse_with_warnings(LAB + ENDPOINTS.format("") + SUBSETS, "f")
    text = "Endpoints db have no effect: there is no Service of their name in their namespace"
    assert [one.sentence for one in found] == [text]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("ip: 192.168.59.100", "ip: 127.0.0.1", "subsets[0].addresses[0].ip: Invalid value: "),
        ("port: 15432", "port: 0", "subsets[0].ports[0].port: Invalid value: 0: must be between 1 and 65535"),
        ("port: 15432", "port: 5, protocol: IP", "subsets[0].ports[0].protocol: Unsupported value: "),
        ("port: 15432}", "port: 1}, {port: 2}", "subsets[0].ports[1].name: Required value"),
        (SUBSETS.partition("  ports")[0], "subsets:\n- addresses: []\n",
         "subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`"),
    ],
)  # fmt: skip
def test_the_api_server_refuses(old: str, new: str, sentence: str) -> None:
    assert old in ALL
    with pytest.raises(LabFileError) as wrong:
        parse(ALL.replace(old, new), "f")
    (one,) = wrong.value.errors
    assert f'The Endpoints "db" is invalid: {sentence}' in one.sentence


def test_apply_and_delete() -> None:
    lab, lines = applied(parse(LAB + SERVICE.format(""), "f"), ENDPOINTS.format("") + SUBSETS)
    assert (lines, len(ends(lab))) == (("endpoints/db created",), 3)
    lab, lines = applied(lab, ENDPOINTS.format("") + SUBSETS.replace(".100", ".200"))
    assert (lines, ends(lab)[-1][0]) == (("endpoints/db configured",), "192.168.59.200")
    left, lines = deleted(lab, ["endpoints/db"])
    assert (lines, left.slices, left.others) == (('endpoints "db" deleted',), (), ())
    left, _ = deleted(lab, ["service/db"])
    assert (left.slices, left.others) == ((), ())


def test_render_reads_them() -> None:
    assert len(parse_manifest(SERVICE.format("") + ENDPOINTS.format("") + SUBSETS, "f").slices) == 1
