"""Fields of a lab file with values that they cannot have: sentences of our own, or a lab; never Python's words."""

from __future__ import annotations

import copy
import itertools
import os
import random
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from nslab.admission.load import parse, parse_stored
from nslab.api.compound_shapes import Many, OneOrMany, RecordShape, Table
from nslab.api.schema import compiled, shape_of
from nslab.compiler import compile_lab
from nslab.compiler.placement import assign_addresses
from nslab.errors import LabFileError
from nslab.lab.dump import dump
from nslab.lab.stream import lab_schema
from nslab.objects import script as shell
from nslab.objects.needs import HostFeatures
from nslab.objects.plan import diff
from nslab.probes import survey, survey_services
from tests.slow import often

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.api.shapes import Shape

Way = tuple[str | int, ...]

NASTY = (
    *("[]", "[[]]", "[1, 2]", "{}", "{a: b}", '""', "null", "~", "true", "no", "-1", "0", "1", "65536", "1.5", ".nan"),
    *(".inf", "-.inf", "1e400", "0x10", "0o17", "1:30", "2026-01-01", "2026-01-01T00:00:00Z", "=", "<<", "' '", "é"),
    *("!!python/object:os.system {}", "!!set {a}", "!!float 1", "!!int x", "!!str 1", "!!binary aGk=", "!mine x"),
    *("&a [*a]", "&a x", "9" * 20, "9" * 5000, "-" + "9" * 5000, f'"{"x" * 100_000}"', f'"{"1." * 50_000}"'),
    *('"a\\nb"', '"\\e[31m"', '"\\0"', '"\\x9b31m"', '"\\u202e"', "../../x", "$(touch x)", "-rf", "'; true'"),
    *("0.0.0.0", "255.255.255.255", "192.168.59.0/0", "192.168.59.22/99", "10.96.0.10/-1", "::1", "1.2.3.4.5"),
    "[" * 60 + "]" * 60,
)
"""YAML, as it stands in the file."""
PYTHON = re.compile(
    "Exceeds the limit|invalid literal|object is not|object has no|must be str|could not convert|NoneType|unhashable"
    "|Traceback|Errno|not subscriptable|unsupported operand|positional argument|codec can't|<class|<nslab"
)
"""What Python's own sentences have in them."""
BASE: dict[str, dict[str, Any]] = {
    "Lab": {
        "apiVersion": "nslab/v1",
        "kind": "Lab",
        "metadata": {"name": "lab"},
        "spec": {
            "nodes": [{"name": "node1", "address": "192.168.59.22"}, {"name": "node2"}],
            "clients": [{"name": "client"}],
            "dns": {"address": "10.96.0.10"},
        },
    },
    "Pod": {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "pod", "labels": {"app": "web"}},
        "spec": {
            "nodeName": "node1",
            "containers": [{"name": "app", "image": "agnhost", "ports": [{"containerPort": 8080}]}],
        },
    },
    "Service": {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
    },
    "EndpointSlice": {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "other-1", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.1.2.3"]}],
        "ports": [{"port": 80}],
    },
    "Deployment": {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "app", "image": "agnhost"}]},
            },
        },
    },
}


def ways(shape: Shape, way: Way = ()) -> Iterator[Way]:
    """Every place of a document where a value may stand, by the schema that it is read along."""
    if way:
        yield way
    match shape:
        case RecordShape():
            for name, field in shape.schema["properties"].items():
                yield from ways(compiled(field), (*way, name))
        case Many() | OneOrMany():
            yield from ways(shape.of, (*way, 0))
        case Table():
            yield from ways(shape.of, (*way, "key"))


KINDS = {
    "Lab": compiled(lab_schema()),
    **{kind: shape_of(str(one["apiVersion"]), kind) for kind, one in BASE.items() if kind != "Lab"},
}
EVERY = [(kind, way) for kind, shape in KINDS.items() for way in ways(shape)]
ACTED_ON = {
    *("nodeName", "hostname", "containers", "restartPolicy", "shareProcessNamespace", "securityContext", "labels"),
    *("annotations", "podIP", "conditions", "ownerReferences", "replicas", "selector", "template", "endpoints"),
}
WAYS = [(kind, way) for kind, way in EVERY if kind in ("Lab", "Service", "EndpointSlice") or {*way} & ACTED_ON]
"""Those whose values nslab has a use for, and what stands below."""


def text(changes: dict[str, dict[Way, str]]) -> str:
    """A lab file in which these places have these values."""
    documents, marks = copy.deepcopy(BASE), {}
    for kind, values in changes.items():
        for way, value in values.items():
            marks[f"@{len(marks)}@"] = value
            _put(documents[kind], way, f"@{len(marks) - 1}@")
    written = yaml.safe_dump_all(documents.values(), default_flow_style=True, width=1 << 30, sort_keys=False)
    return re.sub(r"'?(@\d+@)'?", lambda found: f"{marks[found[1]]}", written)


def _put(into: Any, way: Way, value: str) -> None:
    """Set a value deep inside; what is not there on the way is made."""
    for here, below in itertools.pairwise(way):
        missing: Any = [] if isinstance(below, int) else {}
        if isinstance(into, list):
            into.extend([missing] if len(into) <= int(here) else [])
            into[here] = into[here] if isinstance(into[here], dict | list) else missing
        elif not isinstance(into.get(here), dict | list):
            into[here] = missing
        into = into[here]
    if isinstance(into, list) and len(into) <= int(way[-1]):
        into.append(value)
    else:
        into[way[-1]] = value


def holds(source: str) -> None:
    """Sentences, each at its place, and none of Python's; or a lab that can be planned, printed, probed and kept."""
    try:
        lab = assign_addresses(parse(source, "f"))
    except LabFileError as wrong:
        for problem in wrong.errors:
            assert not PYTHON.search(problem.sentence), problem
            assert problem.sentence.isprintable(), problem
            assert len(problem.sentence) < 1000, problem.sentence[:200]
        return
    host = HostFeatures(ipip=False, ipip_fallback=False, sctp=False)
    state = compile_lab(lab, host)
    assert shell.script(diff((), state), "", "nslab.lab.")
    assert survey(lab, host).probes
    survey_services(lab, host)
    assert assign_addresses(parse_stored(dump(lab), "kept")) == lab


# All of them take minutes: each run has other ones, and of each value some.
@pytest.mark.parametrize("value", NASTY, ids=lambda value: value[:20])
def test_some_fields_with_each_value(value: str) -> None:
    chosen = random.Random(value + os.environ.get("PYTEST_XDIST_TESTRUNUID", ""))
    for kind, way in chosen.sample(WAYS, often(8)) + chosen.sample(EVERY, often(4)):
        holds(text({kind: {way: value}}))


def test_names_that_are_empty_are_missing() -> None:
    for kind in ("Service", "EndpointSlice"):
        with pytest.raises(LabFileError, match=r"metadata\.name is missing"):
            parse(text({kind: {("metadata", "name"): '""'}}), "f")


@settings(max_examples=often(60), deadline=None, database=None)
@given(st.lists(st.tuples(st.sampled_from(WAYS), st.sampled_from(NASTY)), min_size=2, max_size=6))
def test_several_at_once(chosen: list[tuple[tuple[str, Way], str]]) -> None:
    changes: dict[str, dict[Way, str]] = {}
    for (kind, way), value in chosen:
        changes.setdefault(kind, {})[way] = value
    holds(text(changes))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("field", ["apiVersion", "kind"])
@pytest.mark.parametrize("value", ["[]", "{}", "[v1]", "!mine v1"])
def test_what_a_document_is_must_be_a_word(kind: str, field: str, value: str) -> None:
    with pytest.raises(LabFileError):
        parse(text({kind: {(field,): value}}), "f")
