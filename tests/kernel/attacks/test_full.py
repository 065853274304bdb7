"""Nowhere to write to: what is done is done, and one sentence says what could not be written."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.kernel.labkit import IN_A_WORLD_OF_ITS_OWN, NSLAB, ROOT, OwnLab, nslab, pids

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SENTENCE = "nslab: cannot write to standard output: No space left on device\n"


@pytest.fixture
def own(tmp_path: Path) -> Iterator[OwnLab]:
    lab = OwnLab(tmp_path)
    yield lab
    lab.clear()


def shell(line: str) -> subprocess.CompletedProcess[str]:
    """A line of the shell in which `nslab` is this one."""
    return subprocess.run(
        ["bash", "-c", f'nslab() {{ {" ".join(NSLAB)} "$@"; }}; {line}'], capture_output=True, text=True, cwd=ROOT
    )


def test_a_lab_is_up_although_nobody_can_be_told(own: OwnLab) -> None:
    done = shell(f"nslab up {own.file} > /dev/full")
    assert (done.returncode, done.stderr.splitlines(keepends=True)[-1]) == (5, SENTENCE)
    assert "Traceback" not in done.stderr
    assert own.differences() == []
    for verb in (
        f"diff {own.name}",
        f"ps {own.name}",
        "ps -o json",
        f"inspect {own.name}",
        f"probe {own.name}",
        "labs",
    ):
        done = shell(f"nslab {verb} > /dev/full")
        assert (done.returncode, done.stderr) == (5, SENTENCE), verb


def test_a_terminal_for_words_aside_that_takes_none_stops_nothing(own: OwnLab) -> None:
    done = shell(f"nslab up {own.file} 2> /dev/full")
    assert done.returncode == 0
    assert own.differences() == []
    assert shell(f"nslab down {own.name} 2> /dev/full").returncode == 0
    assert shell("nslab up no-such-lab 2> /dev/full").returncode == 2
    assert shell("nslab no-such-verb 2> /dev/full").returncode == 2


def test_every_lab_goes_although_nobody_can_be_told(tmp_path: Path) -> None:
    labs = [OwnLab(tmp_path) for _ in range(2)]
    script = f"""
        mount -t tmpfs none /run
        for file in {" ".join(str(lab.file) for lab in labs)}; do {" ".join(NSLAB)} up $file > /dev/null; done
        status=0; {" ".join(NSLAB)} down --all > /dev/full || status=$?
        echo $status; ls -A /run/nslab /run/netns
    """
    done = subprocess.run([*IN_A_WORLD_OF_ITS_OWN, script], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "5\n"
    assert SENTENCE in done.stderr
    assert "Traceback" not in done.stderr


def test_a_full_folder_is_named(own: OwnLab) -> None:
    own.up()
    there = pids(own.name)
    folder = f"/run/nslab/{own.name}"
    subprocess.run(["mount", "-o", "remount,size=2m", folder], check=True)
    subprocess.run(["sh", "-c", f"yes > {folder}/fill || :"], capture_output=True)
    own.edit("mode: iptables", "mode: nftables")
    done = nslab("up", own.file)
    assert (done.returncode, "Traceback" in done.stderr) == (3, False)
    assert re.fullmatch(rf"nslab: {folder}/\S+: No space left on device", done.stderr.splitlines()[-1])
    subprocess.run(["rm", f"{folder}/fill"], check=True)
    subprocess.run(["mount", "-o", "remount,size=50%", folder], check=True)
    assert own.differences() == []
    assert pids(own.name) == there
