"""What a label selector matches, and how kubectl prints it."""

from __future__ import annotations

import pytest

from nslab.api.selectors import Requirement, matches, requirements

LABELS = {"app": "web", "cpus": "16"}


@pytest.mark.parametrize(
    ("key", "operator", "values", "fulfilled"),
    [
        ("app", "In", ("api", "web"), True),
        ("app", "In", ("api",), False),
        ("gone", "In", ("web",), False),
        ("app", "NotIn", ("api",), True),
        ("app", "NotIn", ("web",), False),
        ("gone", "NotIn", ("web",), True),
        ("app", "Exists", (), True),
        ("gone", "Exists", (), False),
        ("app", "DoesNotExist", (), False),
        ("gone", "DoesNotExist", (), True),
        ("cpus", "Gt", ("9",), True),
        ("cpus", "Gt", ("16",), False),
        ("cpus", "Lt", ("100",), True),
        ("cpus", "Lt", ("9",), False),
        ("app", "Gt", ("9",), False),
        ("gone", "Lt", ("9",), False),
        ("app", "is", ("web",), False),
    ],
)
def test_operators(key: str, operator: str, values: tuple[str, ...], fulfilled: bool) -> None:
    assert Requirement(key, operator, values).matches(LABELS) is fulfilled


def test_all_conditions_count() -> None:
    selector = {"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}
    assert matches(requirements(selector), LABELS)
    assert not matches(requirements(selector), {**LABELS, "tier": "db"})
    assert matches(requirements({}), LABELS)


def test_a_selector_as_kubectl_prints_it() -> None:
    expressions = [
        {"key": "zone", "operator": "In", "values": ["b", "a"]},
        {"key": "tier", "operator": "NotIn", "values": ["db"]},
        {"key": "blue", "operator": "Exists"},
        {"key": "red", "operator": "DoesNotExist"},
    ]
    found = requirements({"matchLabels": {"app": "web"}, "matchExpressions": expressions})
    assert ",".join(map(str, found)) == "app=web,blue,!red,tier notin (db),zone in (a,b)"
