"""`nslab logs -f` goes on as long as there may be more, and ends then, as kubectl's."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.kernel.labkit import NSLAB, ROOT, OwnLab, nslab, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.root


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[OwnLab]:
    made = OwnLab(tmp_path, "pause-pod")
    try:
        yield made
    finally:
        made.clear()


def followed(lab: OwnLab, pod: str, end: Callable[[], object], *options: str) -> tuple[int, str]:
    """The status of `logs -f`, and what came after its first line: when that was there, `end` was done."""
    command = [*NSLAB, "logs", f"{lab.name}/{pod}", "-f", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT) as logs:
        assert logs.stdout
        try:
            assert logs.stdout.readline()
            end()
            rest, _ = logs.communicate(timeout=20)
        finally:
            logs.kill()
    return logs.returncode, rest


def test_it_ends_with_the_lab(lab: OwnLab) -> None:
    lab.up()
    assert followed(lab, "pod-1", lab.down)[0] == 0


def test_it_ends_with_the_pod(lab: OwnLab) -> None:
    lab.up()
    assert followed(lab, "pod-1", lambda: nslab("delete", lab.name, "pod/pod-1"))[0] == 0


@pytest.mark.parametrize("policy", ["Never", "Always"])
def test_it_ends_with_the_run_and_its_last_words(lab: OwnLab, policy: str) -> None:
    talks = "command: [sh, -c, 'trap \"echo over; exit 0\" TERM; echo begun; while :; do sleep 0.02; done']"
    lab.edit("  nodeName: node1\n", f"  nodeName: node1\n  restartPolicy: {policy}\n")
    lab.edit("args: [netexec, --http-port=8080]\n    ports: [{containerPort: 8080}]", talks)
    lab.up()
    pid = lab.pids()["pod-1 container/second"]
    assert followed(lab, "pod-1", lambda: os.kill(pid, signal.SIGTERM), "-c", "second") == (0, "over\n")


def test_it_goes_on_while_nobody_sees_to_the_node(lab: OwnLab) -> None:
    lab.up()

    def later() -> None:
        os.kill(lab.pids()["node1 node"], signal.SIGKILL)
        until(lambda: "node1 node" not in lab.pids())
        lab.up()
        assert lab.talks("pod-1", "20.111.156.66", 8000)
        until(lambda: "/hostname" in nslab("logs", f"{lab.name}/pod-1").stdout)
        lab.down()

    status, rest = followed(lab, "pod-1", later)
    assert (status, rest.count("/hostname")) == (0, 1)
