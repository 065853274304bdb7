"""`nslab vm` from outside: what goes in, what comes out, and that nothing of it stays."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from fcntl import ioctl
from pathlib import Path
from struct import pack
from termios import TIOCSWINSZ
from typing import TYPE_CHECKING, Any

import pytest

from nslab.errors import Missing
from nslab.linux.vm import boot as vm
from tests.kernel.labkit import ROOT, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NSLAB_VM = (sys.executable, "-m", "nslab", "vm", "--")
NOBODY = 65534


@pytest.fixture(autouse=True)
def _needs_a_kernel() -> None:
    try:
        vm.kernel_here()
    except Missing as missing:
        pytest.skip(str(missing))


@contextmanager
def started(command: Sequence[str], folder: Path, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """`nslab vm` in `folder`, with its private folder in there too: so whatever stays can be found."""
    # A terminal's size is told by the terminal, and not by what pytest found.
    shown = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    environment = {**shown, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, cwd=folder, env=environment, **{**pipes, **options}) as process:
        try:
            yield process
        finally:
            process.terminate()  # it takes its kernel along


def left(folder: Path) -> list[str]:
    """Processes that name the folder, but for those that wait to be buried, and files of ours in it."""
    found = list(map(str, folder.glob("nslab-vm-*")))
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder) in (entry / "cmdline").read_text():
                found.append(f"{entry.name}: {(entry / 'cmdline').read_text()}")
        except OSError:
            continue
    return found


@pytest.fixture
def nobodys() -> Iterator[Path]:
    """A folder of an ordinary user: what pytest makes is for root alone to reach."""
    with tempfile.TemporaryDirectory(prefix="nslab-test-") as folder:
        os.chown(folder, NOBODY, NOBODY)
        yield Path(folder)


def test_streams_status_and_files_for_an_ordinary_user(nobodys: Path) -> None:
    if any(not path.stat().st_mode & 0o001 for path in (ROOT, *ROOT.parents)):
        pytest.skip(f"only root can reach {ROOT}")
    given = bytes(range(256)) * 1000
    script = "id -u; test -t 0 || test -t 1 || echo no terminal; touch made; touch /etc/made; cat >&2; exit 7"
    ordinary = {"user": NOBODY, "group": NOBODY, "extra_groups": ()}
    with started([*NSLAB_VM, "sh", "-c", script], nobodys, **ordinary) as process:
        output, error = process.communicate(given, timeout=60)
    assert output == b"0\nno terminal\n"
    refused, echoed = error.split(b"\n", 1)
    assert b"Read-only file system" in refused
    assert echoed == given
    assert process.returncode == 7
    assert (nobodys / "made").stat().st_uid == NOBODY
    assert left(nobodys) == []


def test_a_terminal_is_a_terminal(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    ioctl(theirs, TIOCSWINSZ, pack("HHHH", 33, 99, 0, 0))
    script = "stty size; trap 'echo interrupted; exit 3' INT; echo ready; while :; do sleep 1; done"
    with started([*NSLAB_VM, "sh", "-c", script], tmp_path, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        seen = b""
        while not seen.endswith(b"ready\r\n"):
            seen += os.read(ours, 4096)
        assert seen == b"33 99\r\nready\r\n"
        os.write(ours, b"\x03")
        assert process.wait(60) == 3
        assert b"interrupted" in os.read(ours, 4096)
    os.close(ours)
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "status"),
    [
        (signal.SIGINT, 128 + signal.SIGINT),
        (signal.SIGTERM, 128 + signal.SIGTERM),
        (signal.SIGKILL, -signal.SIGKILL),
    ],
)
def test_it_ends_when_told(tmp_path: Path, number: signal.Signals, status: int) -> None:
    with started([*NSLAB_VM, "sh", "-c", "echo ready; sleep 1000"], tmp_path) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(number)
        process.communicate(timeout=30)
    assert process.returncode == status
    until(lambda: not left(tmp_path))


def test_a_kernel_that_does_not_come_up_says_why(tmp_path: Path) -> None:
    with started([*NSLAB_VM[:-1], "--memory", "4M", "--", "true"], tmp_path) as process:
        output, error = process.communicate(timeout=30)
    assert (process.returncode, output) == (1, b"")
    assert b"physical memory" in error
    assert left(tmp_path) == []
