"""What a container may use of the machine: each of its file systems, its files and its processes are bounded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.kernel.attacks import intruder
from tests.kernel.attacks.attackkit import AGNHOST, MARKS, SLEEP, inside, pod, running, together
from tests.kernel.labkit import nslab

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kernel.labkit import OwnLab

pytestmark = MARKS
MB = 1 << 20
STORAGE, FILES, OPEN = 64 * MB, 16 << 10, 1 << 20
MORE = 100 * MB, 20_000
"""More than there can be; where all of it is had, the machine is still well."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnLab]:
    pods = [pod("alone", {"app": SLEEP}), pod("web", {"app": {"image": AGNHOST}})]
    with running(tmp_path_factory.mktemp("lab"), *pods) as made:
        yield made


@pytest.fixture(scope="module")
def answers(lab: OwnLab) -> dict[str, Any]:
    attacks = {f"bytes {place}": (intruder.fill, place, MORE[0]) for place in intruder.PLACES}
    attacks |= {f"files {place}": (intruder.fill_with_files, place, MORE[1]) for place in intruder.PLACES}
    return together(lab, "alone", **attacks, open=(intruder.open_files, OPEN + 1), settings=(intruder.settings,))


@pytest.mark.parametrize("place", intruder.PLACES)
def test_files_in_memory_are_bounded(answers: dict[str, Any], place: str) -> None:
    output = answers[f"bytes {place}"]
    assert output["answer"] == "ENOSPC"
    assert 0 < output["had"] <= STORAGE


@pytest.mark.parametrize("place", intruder.PLACES)
def test_so_is_their_number(answers: dict[str, Any], place: str) -> None:
    output = answers[f"files {place}"]
    assert output["answer"] == "ENOSPC"
    assert 0 < output["had"] <= FILES


def test_open_files_are_bounded(answers: dict[str, Any]) -> None:
    assert answers["open"]["answer"] == "EMFILE"
    assert answers["open"]["had"] <= OPEN


def test_nothing_is_left_on_a_disk_by_who_crashes(answers: dict[str, Any]) -> None:
    """Less than a page is no core file; and 1 is the one limit with which the kernel starts no program for it."""
    assert answers["settings"]["Max core file size"] == "1 1"


@pytest.mark.parametrize("kind", ["pids", "memory"])
def test_a_container_has_a_group_with_a_limit(lab: OwnLab, answers: dict[str, Any], kind: str) -> None:
    root = Path("/sys/fs/cgroup")
    if not (root / kind).exists():
        pytest.skip(f"this machine has no control groups for {kind}, or those of version 2")
    (line,) = [line for line in answers["settings"]["groups"].splitlines() if f":{kind}:" in line]
    group = root / kind / line.rsplit(":", 1)[1].lstrip("/")
    file = {"pids": "pids.max", "memory": "memory.limit_in_bytes"}[kind]
    assert 0 < int((group / file).read_text()) <= {"pids": 1024, "memory": 512 * MB}[kind]
    assert int((group.parent / file).read_text()) < 1 << 62, "the lab as a whole has one, too"


def test_what_it_prints_is_bounded(lab: OwnLab) -> None:
    """More into the pipe of its own output than the two files of 10 MB to which the log of a run is kept."""
    inside(lab, "alone", intruder.flood, "/proc/1/fd/1", 25 * MB)
    script = "du -cb /var/log/pods/*/*/* | tail -1 | cut -f1"
    size = int(nslab("exec", f"{lab.name}/node1", "--", "sh", "-c", script).stdout)
    assert 0 < size < 23 * MB
    assert nslab("exec", f"{lab.name}/web", "--", "true").returncode == 0
