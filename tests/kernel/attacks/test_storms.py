"""What does not want to end with its lab: fork storms, the deaf, the stopped, those who went elsewhere."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.kernel.attacks.forgekit import Small, pod, runs, saying, world
from tests.kernel.labkit import nslab, until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="takes root")]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Small]:
    made = Small(tmp_path, pod("one"), pod("shared", share=True))
    made.up()
    yield made
    made.clear()
    assert made.left() == []


@pytest.fixture
def token() -> Iterator[str]:
    """Seconds that nobody else sleeps: by these a process is found, whatever it did with its environment."""
    word = f"{secrets.randbelow(1 << 30) + 100_000}"
    yield word
    for pid in saying(word):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


STORM = """
import os, signal, sys, time
for number in {*signal.valid_signals()} - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
    signal.signal(number, signal.SIG_IGN)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
end = time.monotonic() + 60
for _ in range(int(sys.argv[2])):
    if os.fork() == 0:
        # Each lives for a moment, and leaves a child that does the same.
        while time.monotonic() < end:
            time.sleep(0.2)
            try:
                if os.fork():
                    os._exit(0)
                os.setsid()
            except OSError:
                pass
        os._exit(0)
time.sleep(60)
"""


def begin(lab: Small, host: str, token: str, count: int, *before: str) -> None:
    """Start a storm somewhere, of so many at a time."""
    line = 'setsid "$@" > /dev/null 2>&1 < /dev/null &'
    argv = ("sh", "-c", line, "storm", *before, "python3", "-c", STORM, token, count)
    done = nslab("exec", f"{lab.name}/{host}", "--", *argv)
    assert done.returncode == 0, done.stderr
    until(lambda: len(saying(token)) >= count // 3)


def test_a_storm_in_a_node_does_not_outlive_the_lab(lab: Small, token: str) -> None:
    begin(lab, "node1", token, 300)
    lab.down()
    assert saying(token) == []


def test_nor_do_storms_in_pods(lab: Small, token: str) -> None:
    begin(lab, "one", token, 100)
    begin(lab, "shared", token, 200)
    lab.down()
    assert saying(token) == []


def test_nor_does_one_that_left_all_namespaces(lab: Small, token: str) -> None:
    """In another network, with no mark, with no parent of the lab's; the node's process is dead, too."""
    begin(lab, "node1", token, 100, "env", "-i", "unshare", "--net", "--mount", "--ipc", "--uts")
    os.kill(lab.pids()["node1 node"], signal.SIGKILL)
    lab.down()
    assert saying(token) == []


def act_without_groups(folder: str) -> None:
    """A machine that has no control groups; the node's process is all that these descend from."""
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/sys/fs/cgroup"], check=True)
    lab, token = Small(Path(folder), pod("one")), f"{secrets.randbelow(1 << 30) + 100_000}"
    lab.up()
    begin(lab, "node1", token, 100, "env", "-i", "unshare", "--net")
    lab.down()
    assert saying(token) == []


def test_nor_one_where_there_are_no_control_groups(tmp_path: Path) -> None:
    world(act_without_groups, tmp_path)


def test_a_storm_is_over_with_its_pod(lab: Small, token: str) -> None:
    begin(lab, "shared", token, 100)
    assert nslab("delete", lab.name, "pod/shared").returncode == 0
    until(lambda: saying(token) == [])
    assert nslab("exec", f"{lab.name}/one", "--", "hostname").stdout == "one\n"


HIDERS = (
    'trap "" INT TERM HUP QUIT; sleep TOKEN; sleep TOKEN',
    "exec sleep TOKEN",
    "sleep TOKEN & exit",
    "exec env -i sleep TOKEN",
    "exec unshare --pid --fork --mount-proc sleep TOKEN",
    "exec unshare --net sleep TOKEN",
    "exec unshare --net --pid --fork --mount --uts --ipc setsid env -i sleep TOKEN",
    "exec unshare --user --map-root-user --net env -i sleep TOKEN",
    "exec unshare --cgroup --net env -i NSLAB=nslab.other.x sleep TOKEN",
    "exec chroot / nsenter --net=/proc/TESTER/ns/net env -i sleep TOKEN",
    "kill -STOP $$; sleep TOKEN",
)


POD_HIDERS = (
    'trap "" INT TERM HUP QUIT; sleep TOKEN; sleep TOKEN',
    "sleep TOKEN & exit",
    "exec env -i sleep TOKEN",
    "exec env -i NSLAB= sleep TOKEN",
    "kill -STOP $$; sleep TOKEN",
)


@pytest.mark.parametrize("node", ["alive", "dead"])
def test_who_hides_ends_with_the_lab(lab: Small, token: str, node: str) -> None:
    for host, hiders in (("node1", HIDERS), ("one", POD_HIDERS), ("shared", POD_HIDERS)):
        lines = "\n".join(f"setsid sh -c '{line}' > /dev/null 2>&1 < /dev/null &" for line in hiders)
        lines = lines.replace("TOKEN", token).replace("TESTER", str(os.getpid()))
        done = nslab("exec", f"{lab.name}/{host}", "--", "sh", "-c", lines)
        assert done.returncode == 0, done.stderr
    # All but those that stand still before they sleep.
    until(lambda: len(saying(f"sleep\0{token}\0", begins=True)) >= len(HIDERS) + 2 * len(POD_HIDERS) - 3)
    if node == "dead":
        os.kill(lab.pids()["node1 node"], signal.SIGKILL)
    lab.down()
    assert saying(token) == []


HEADLESS = """
import ctypes, os, threading, time
if pid := os.fork():
    print(pid, flush=True)
    os._exit(0)
os.setsid()
threading.Thread(target=time.sleep, args=(1000,)).start()
ctypes.CDLL(None).syscall({"x86_64": 60, "aarch64": 93}[os.uname().machine], 0)
"""


def test_who_lost_the_first_thread_is_not_dead(lab: Small) -> None:
    """/proc calls it a zombie, and its other threads go on."""
    pids = []
    for before in ((), ("unshare", "--net", "env", "-i")):
        done = nslab("exec", f"{lab.name}/node1", "--", *before, "python3", "-c", HEADLESS)
        pids.append(int(done.stdout))
    until(lambda: not any(map(runs, pids)))
    os.kill(lab.pids()["node1 node"], signal.SIGKILL)
    assert all([*_threads(pid)] for pid in pids)
    lab.down()
    assert not any([*_threads(pid)] for pid in pids)


def _threads(pid: int) -> Iterator[str]:
    for task in Path(f"/proc/{pid}/task").glob("*"):
        try:
            state = (task / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state not in "ZX":
            yield task.name


def test_what_stands_still_is_named_and_goes_on(lab: Small) -> None:
    pids = lab.pids()
    for part in ("node1 node", "one container/app"):
        os.kill(pids[part], signal.SIGSTOP)
    output = "\n".join(lab.differences())
    assert "node1" in output
    lab.up()
    assert nslab("exec", f"{lab.name}/one", "--", "hostname").stdout == "one\n"
    os.kill(lab.pids()["node1 node"], signal.SIGSTOP)
    lab.down()
