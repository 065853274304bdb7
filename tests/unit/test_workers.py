"""The suite's tests are dealt out whole, and what takes long is not left for the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.workers import LONG, SINGLE, share, turn, workers

ROOT = Path(__file__).parents[2]
GUIDE = "tests/kernel/test_guides.py::test_a_guide_shows_what_is_seen"


@pytest.mark.parametrize(
    ("test", "whose"),
    [
        ("tests/kernel/test_live.py::test_a[x::y]", "tests/kernel/test_live.py"),
        ("labs/pause-pod/test_pause_pod.py::test_a", "labs/pause-pod/test_pause_pod.py"),
        ("tests/vm/test_ipvs.py::test_a[b]", "tests/vm"),
        (f"{GUIDE}[pause-pod]", f"{GUIDE}[pause-pod]"),
    ],
)
def test_what_tells_one_story_stays_together(test: str, whose: str) -> None:
    assert share(test) == whose


def test_the_vm_comes_first_and_the_unit_tests_last() -> None:
    tests = ["labs/a/test_a.py::test", f"{GUIDE}[a]", "tests/unit/test_a.py::test", "tests/vm/test_a.py::test"]
    assert sorted(tests, key=turn) == [tests[3], tests[1], tests[0], tests[2]]


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        ([], 6),
        (["tests", "labs"], 6),
        (["tests/unit"], 2),
        (["tests/unit/lab", "tests/kernel"], 6),
        (["tests/unit/test_a.py"], 0),
        (["tests/unit/test_a.py::test_b[x]"], 0),
        (["tests/kernel/test_a.py", "tests/kernel/test_b.py", "tests/vm/test_c.py"], 2),
        (["tests/kernel/test_guides.py"], 6),
    ],
)
def test_as_many_workers_as_it_is_worth(asked: list[str], count: int) -> None:
    assert workers(asked, 2) == count


def test_files_that_are_named_are_there() -> None:
    assert [file for file in (*SINGLE, *LONG) if not (ROOT / file).is_file()] == []
