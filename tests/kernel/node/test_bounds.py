"""What a container may take of the machine, where there are control groups and where there are none."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from children import of_child

from nslab.components.runtime.rootfs import namespaces_bound_pids
from nslab.runtime import cgroups

if TYPE_CHECKING:
    from nodebench import Bench

pytestmark = pytest.mark.root

BOMB = """
import os, time
born = 0
try:
    while born < 3000:
        if os.fork() == 0:
            time.sleep(60)
        born += 1
except OSError:
    pass
print(born)
"""
grouped = pytest.mark.skipif(
    "unified" not in cgroups.hierarchies() and "pids" not in cgroups.hierarchies(), reason="no control groups for pids"
)


@grouped
def test_processes_are_bounded_and_the_group_goes_with_its_container(bench: Bench) -> None:
    bench.node()
    workload = bench.workload("pod", "app", "sleep", "1000")
    _, app = bench.start(bench.sandbox("pod"), workload)
    lines = Path(f"/proc/{app}/cgroup").read_text().splitlines()
    own = f"/{cgroups.name(str(bench.run))}/pod.app"
    assert any(line.endswith(own) for line in lines)
    status, output = bench.exec("pod", "container/app", "python3", "-c", BOMB)
    assert status == 0
    assert cgroups.PIDS // 2 < int(output) <= cgroups.PIDS


@grouped
def test_who_is_kept_from_going_into_a_group_hears_of_it(bench: Bench) -> None:
    """Who has the same user can take descriptors from a process that is about to become a command (prlimit)."""
    bench.node()
    bench.start(bench.sandbox("pod"), bench.workload("pod", "app", "sleep", "1000"))

    def tried(limit: int) -> str:
        groups = cgroups.Groups(str(bench.run))
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        try:
            groups.enter("pod.app")
        except OSError as error:
            return str(error.strerror)
        return "done"

    assert of_child(lambda: tried(0)) == "Too many open files"
    assert of_child(lambda: tried(64)) == "done"


def test_processes_are_bounded_without_control_groups(tmp_path: Path) -> None:
    if not namespaces_bound_pids():
        pytest.skip("before Linux 6.14 kernel.pid_max is the machine's")
    script = f"""
import sys
sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parents[3])]!r}
from nodebench import Bench
bench = Bench()
try:
    bench.node()
    bench.start(bench.sandbox("pod"), bench.workload("pod", "app", "sleep", "1000"))
    print(bench.exec("pod", "container/app", "cat", "/proc/sys/kernel/pid_max"))
    print(bench.exec("pod", "container/app", "sh", "-c", "echo 9999 > /proc/sys/kernel/pid_max")[0] != 0)
    print(int(bench.exec("pod", "container/app", "python3", "-c", {BOMB!r})[1]) <= 1024)
finally:
    bench.close()
"""
    before = Path("/proc/sys/kernel/pid_max").read_text()
    covered = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /sys/fs/cgroup && exec "$@"', "sh"]
    done = subprocess.run([*covered, sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert done.stdout == "(0, '1024\\n')\nTrue\nTrue\n"
    assert Path("/proc/sys/kernel/pid_max").read_text() == before
