"""The formats of `get -o`, sorting, and selection by fields, in kubectl's ways and words."""

from __future__ import annotations

from typing import Any

import pytest

from nslab.errors import NslabError, UsageError
from nslab.lab.selection import matching_fields
from nslab.views.events import event
from nslab.views.listing import Listing
from nslab.views.printers import Printer, by_template, custom_columns, printer, sorted_by


def pod(name: str, node: str = "node1", phase: str = "Running", **status: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default", "labels": {"app": "web"}},
        "spec": {"nodeName": node, "containers": [{"name": "c", "image": "x"}]}, "status": {"phase": phase, **status},
    }  # fmt: skip


PODS = [pod("web-10", restarts=2), pod("web-9", "node2", memory="1Gi"), pod("db", phase="Pending", memory="900Mi")]


def test_formats() -> None:
    assert [printer(text) for text in ("wide", "jsonpath={.items}", "custom-columns=A:.b,C:.d")] == [
        Printer("wide"), Printer("jsonpath", "{.items}"), Printer("custom-columns", "A:.b,C:.d"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("xml", 'unable to match a printer suitable for the output format "xml", allowed formats are: custom-columns,'),
        ("yaml=x", 'the output format "yaml=x"'),
        ("jsonpath", "error: template format specified but no template given"),
        ("jsonpath=", "error: template format specified but no template given"),
        ("custom-columns=", "error: custom-columns format specified but no custom columns given"),
    ],
)
def test_what_is_no_format(text: str, error: str) -> None:
    with pytest.raises(UsageError) as raised:
        printer(text)
    assert error in str(raised.value)


def test_a_template_of_a_list() -> None:
    value = {"kind": "List", "items": PODS}
    assert by_template(Printer("jsonpath", "{.items[*].metadata.name}"), value) == "web-10 web-9 db"
    assert by_template(Printer("jsonpath-as-json", "{.items[*].spec.nodeName}"), value) == (
        '[\n    "node1",\n    "node2",\n    "node1"\n]\n'
    )


def test_custom_columns() -> None:
    columns = "NAME:.metadata.name,NODE:spec.nodeName,MEM:{.status.memory},LABELS:.metadata.labels,IMAGES:.spec..image"
    assert custom_columns(columns, PODS[:2]).splitlines() == [
        "NAME     NODE    MEM      LABELS         IMAGES",
        "web-10   node1   <none>   map[app:web]   x",
        "web-9    node2   1Gi      map[app:web]   x",
    ]
    assert custom_columns("NAME:.metadata.name", PODS[2:], headers=False) == "db"
    assert custom_columns("NAME:.metadata.name", [], headers=False) == ""
    assert custom_columns("A:.spec.containers", PODS[:1]).splitlines()[1] == "[map[image:x name:c]]"


@pytest.mark.parametrize(
    ("columns", "error"),
    [
        ("NAME", "unexpected custom-columns spec: NAME, expected <header>:<json-path-expr>"),
        ("A:.b,", "unexpected custom-columns spec: , expected"),
        ("A:{.b", "unexpected path string"),
        ("A:.b[x]", "invalid array index x"),
    ],
)
def test_what_is_no_column(columns: str, error: str) -> None:
    with pytest.raises(NslabError) as raised:
        custom_columns(columns, PODS)
    assert error in str(raised.value)


@pytest.mark.parametrize(
    ("path", "names"),
    [
        (".metadata.name", "db web-9 web-10"),
        ("{.spec.nodeName}", "web-10 db web-9"),
        (".status.memory", "web-10 db web-9"),
        ("status.restarts", "web-9 db web-10"),
    ],
)
def test_sorted_by(path: str, names: str) -> None:
    assert [one["metadata"]["name"] for one in sorted_by(path, PODS)] == names.split()


def test_what_nothing_is_sorted_by() -> None:
    with pytest.raises(UsageError, match=r"couldn't find any field with path \"\{\.spec\.x\}\" in the list of objects"):
        sorted_by(".spec.x", PODS)
    assert sorted_by(".spec.x", []) == []


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("", "web-10 web-9 db"),
        ("metadata.name=db", "db"),
        ("metadata.namespace==default", "web-10 web-9 db"),
        ("status.phase!=Running", "db"),
        ("spec.nodeName=node1,status.phase=Running", "web-10"),
        ("status.podIP=", "web-10 web-9 db"),
    ],
)
def test_fields(selector: str, names: str) -> None:
    assert [one["metadata"]["name"] for one in matching_fields(PODS, selector)] == names.split()


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ("involvedObject.name=web", True),
        ("involvedObject.kind=Pod,involvedObject.name=db", False),
        ("type=Warning,reason!=Failed", True),
        ("type=Normal", False),
        ("source=kubelet,reportingComponent=kubelet", True),
    ],
)
def test_fields_of_events(selector: str, found: bool) -> None:
    record = {"namespace": "default", "pod": "web", "uid": "u", "path": "", "reason": "BackOff", "message": "m"}
    one = event("node1", record | {"first": 0.0, "last": 1.0, "count": 2})
    assert matching_fields([one], selector) == [one] * found


@pytest.mark.parametrize(
    ("selector", "error"),
    [
        ("spec.image=x", "field label not supported: spec.image"),
        ("phase", "invalid selector: 'phase'; can't understand"),
    ],
)
def test_what_is_no_selector_of_fields(selector: str, error: str) -> None:
    with pytest.raises(UsageError, match=error):
        matching_fields(PODS, selector)


def test_no_headers() -> None:
    assert Listing(headers=False).text(PODS[:1], 0.0).split()[0] == "web-10"
    assert Listing(headers=False).text([], 0.0) == ""
