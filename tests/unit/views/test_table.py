"""Tables and pictures on a narrow terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nslab.admission.load import load
from nslab.compiler.placement import assign_addresses
from nslab.lab.find import find, names
from nslab.views.table import folded, table, width, wrapped
from nslab.views.tree import picture

PODS = [
    ["default", "pod-a", "1/1", "CrashLoopBackOff", "1 (12s ago)", "20.111.156.7", "node1"],
    ["kube-system", "kube-dns", "2/2", "Running", "0", "20.111.156.1", "node2"],
]
HEADER = ["NAMESPACE", "NAME", "READY", "STATUS", "RESTARTS", "IP", "NODE"]


def test_a_table_is_as_wide_as_it_wants_where_nobody_looks() -> None:
    assert table(HEADER, PODS).splitlines()[1].startswith("default      pod-a     1/1    CrashLoopBackOff  1 (12s")
    assert table(HEADER, PODS, 200) == table(HEADER, PODS)


def test_a_text_is_wrapped_in_its_column() -> None:
    assert table(["N", "SHOWS"], [["1", "one two three four"]], 12).splitlines() == [
        "N  SHOWS",
        "1  one two",
        "   three",
        "   four",
    ]


def test_columns_that_do_not_fit_follow_in_a_line_of_their_own() -> None:
    assert table(HEADER, PODS, 60).splitlines() == [
        "NAMESPACE    NAME      READY  STATUS            RESTARTS",
        "    IP            NODE",
        "default      pod-a     1/1    CrashLoopBackOff  1 (12s ago)",
        "    20.111.156.7  node1",
        "kube-system  kube-dns  2/2    Running           0",
        "    20.111.156.1  node2",
    ]


@pytest.mark.parametrize("columns", [1, 20, 60])
def test_nothing_of_a_table_is_lost(columns: int) -> None:
    words = table(HEADER, PODS, columns).split()
    assert sorted(words) == sorted(" ".join(cell for row in (HEADER, *PODS) for cell in row).split())


@given(st.text(st.sampled_from("ab 가"), max_size=40), st.integers(1, 20))
def test_a_wrapped_text_keeps_its_words_and_fits(text: str, columns: int) -> None:
    lines = [*wrapped(text, columns)]
    assert " ".join(lines).split() == text.split()
    longest = max(map(width, text.split()), default=0)
    assert max(map(width, lines)) <= max(columns, longest)


def test_what_goes_on_below_a_branch_hangs_on_the_same_stem() -> None:
    assert folded("│  ├─ cali0 ── eth0 20.96.0.1  pod-a  app:8080", 34) == [
        "│  ├─ cali0 ── eth0 20.96.0.1",
        "│  │      pod-a  app:8080",
    ]
    assert folded("   └─ cali0  pod-a", 14) == ["   └─ cali0", "          pod-a"]
    assert folded("  svc  10.96.0.1:80  -> pod-a, pod-b", 16) == [
        "  svc",
        "      10.96.0.1:80",
        "      -> pod-a,",
        "          pod-b",
    ]


@pytest.mark.parametrize("name", names())
def test_a_lab_fits_60_columns(name: str) -> None:
    lab = assign_addresses(load(find(name)))
    narrow = picture(lab, 60)
    assert [line for line in narrow.splitlines() if width(line) > 60] == []
    assert [word for word in narrow.split() if word != "│"] == [word for word in picture(lab).split() if word != "│"]
