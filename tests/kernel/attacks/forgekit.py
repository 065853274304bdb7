"""For tests of who is believed: small labs, processes of ordinary users, what a folder holds, a world of its own."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.kernel.labkit import IN_A_WORLD_OF_ITS_OWN, ROOT, OwnLab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

LAB = """apiVersion: nslab/v1
kind: Lab
metadata: {name: NAME}
spec:
  networks: {nodes: 192.168.59.0/24, pods: 20.96.0.0/16, services: 10.96.0.0/12}
  cni: {plugin: kubenet}
  proxy: {mode: none}
  nodes:
  - {name: node1, address: 192.168.59.22, podCIDR: 20.96.1.0/24}
"""
SLEEP = ("sleep", "1000")


def pod(name: str, *command: str, share: bool = False, **more: Any) -> str:
    """A document of a lab file: a pod on node1 with one container, `app`."""
    container = {"name": "app", "command": command or SLEEP}
    spec = {"nodeName": "node1", "shareProcessNamespace": share, "containers": [container]}
    document = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **more}, "spec": spec}
    return f"---\n{json.dumps(document)}\n"


class Small(OwnLab):
    """A lab of one node that is up in no time; in `pods` NAME stands for the lab's name."""

    def __init__(self, folder: Path, *pods: str) -> None:
        super().__init__(folder, "pause-pod")
        self.write("".join((LAB, *pods)).replace("NAME", self.name))

    def start(self, *pods: str) -> None:
        """Bring it up, with more pods."""
        self.write(self.file.read_text() + "".join(pods).replace("NAME", self.name))
        self.up()


def script(*marks: str) -> tuple[str, ...]:
    """A container's command that starts a process for each of these marks, and waits."""
    return ("sh", "-c", "".join(f"NSLAB='{mark}' sleep 1000 & " for mark in marks) + "exec sleep 1000")


def somebody() -> int:
    """The number of an ordinary user: nobody else's."""
    return 200_000 + secrets.randbelow(1 << 30)


@contextlib.contextmanager
def process(*argv: str, mark: str | bytes = "", user: int | None = None, **more: Any) -> Iterator[int]:
    """A process, of an ordinary user unless told otherwise (0: root's), that says that it is somebody; its number."""
    user = somebody() if user is None else user
    word = mark.encode() if isinstance(mark, str) else mark
    environment = {b"PATH": b"/usr/bin:/bin:/usr/sbin:/sbin", **({b"NSLAB": word} if mark else {})}
    rights: dict[str, Any] = {"user": user, "group": user, "extra_groups": ()} if user else {}
    with subprocess.Popen(argv or SLEEP, env=environment, cwd="/", **rights, **more) as child:
        try:
            yield child.pid
        finally:
            child.kill()


@contextlib.contextmanager
def together(processes: Sequence[AbstractContextManager[int]]) -> Iterator[list[int]]:
    """Several of these at the same time."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(one) for one in processes]


def runs(pid: int) -> bool:
    """Whether a process is alive."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def bearing(mark: str) -> list[int]:
    """The processes that have exactly this mark in their environment."""
    entry, found = f"NSLAB={mark}".encode(), []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.append(int(pid))
    return sorted(found)


def saying(text: str, *, begins: bool = False) -> list[int]:
    """The living processes whose command line holds a text (NUL after each word), or begins so."""
    found = []
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        with contextlib.suppress(OSError):
            line = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace")
            if (line.startswith(text) if begins else text in line) and runs(pid):
                found.append(pid)
    return found


def tree(folder: Path) -> dict[str, str]:
    """All that lies in a folder, with what files hold; links are not followed."""
    found = {}
    for root, folders, files in os.walk(folder):
        for path in (Path(root, name) for name in (*folders, *files)):
            found[str(path)] = (
                path.read_text() if path.is_file() and not path.is_symlink() else f"{path.lstat().st_mode:o}"
            )
    return found


def treasure(folder: Path) -> Path:
    """A folder of somebody's, with files that nobody is to touch."""
    (folder / "deep" / "deeper").mkdir(parents=True)
    for name in ("a", "nslab.x.y", "deep/b", "deep/deeper/c"):
        (folder / name).write_text(f"{name} is dear to somebody\n")
    return folder


def sentence(done: subprocess.CompletedProcess[str], *statuses: int) -> str:
    """What a call said that was refused: one line, in words."""
    assert done.returncode in (statuses or (1, 2, 3)), (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr.strip()


def world(act: Callable[..., None], *arguments: object) -> None:
    """Call a function of a test's module in a world of its own, where /run is empty; what it asserts holds here."""
    call = "import importlib, sys; getattr(importlib.import_module(sys.argv[1]), sys.argv[2])(*sys.argv[3:])"
    argv = [sys.executable, "-c", call, act.__module__, act.__name__, *map(str, arguments)]
    done = _in_a_world('mount -t tmpfs -o mode=755 tmpfs /run; "$@"', argv)
    assert done.returncode == 0, done.stdout + done.stderr


def _in_a_world(line: str, argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
    world = [*IN_A_WORLD_OF_ITS_OWN, line, "world", *argv]
    return subprocess.run(world, cwd=ROOT, capture_output=True, text=True, timeout=120)
