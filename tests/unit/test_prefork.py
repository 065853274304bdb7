"""A call that forks from the server is as one that starts: its streams, place, variables, umask, signals and status."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests import prefork

if TYPE_CHECKING:
    from pathlib import Path

SHOWN = """
import os, signal, sys
mask = os.umask(0)
print(sys.argv, os.getcwd(), os.environ["SEEN"], mask, sys.stdin.read(), sorted(os.environ))
print(signal.getsignal(signal.SIGCHLD), signal.getsignal(signal.SIGINT), os.listdir("/proc/self/fd"))
print("error", file=sys.stderr)
sys.exit(7)
"""


def both(*words: str, **options: Any) -> list[subprocess.CompletedProcess[str]]:
    """The same by an interpreter that starts, and by one that forks."""
    calls = [(sys.executable, *words), (*prefork.python(), *words)]
    return [subprocess.run(call, capture_output=True, text=True, timeout=60, **options) for call in calls]


def test_a_call_has_what_its_caller_gives_it(tmp_path: Path) -> None:
    environment = {"SEEN": "yes", "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
    mask = os.umask(0o27)
    try:
        one, other = both("-c", SHOWN, "two words", "\udcff", cwd=tmp_path, env=environment, input="given")
    finally:
        os.umask(mask)
    assert (one.stdout, one.stderr, one.returncode) == (other.stdout, other.stderr, other.returncode)
    assert one.returncode == 7


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGPIPE])
def test_who_dies_of_a_signal_does_so(number: int) -> None:
    text = f"import os, signal; signal.signal({int(number)}, signal.SIG_DFL); os.kill(os.getpid(), {int(number)})"
    text = text if number != signal.SIGKILL else "import os; os.kill(os.getpid(), 9)"
    assert [done.returncode for done in both("-c", text)] == [-number, -number]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 3), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_signal_is_passed_on(number: int, status: int) -> None:
    text = """
import os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
print(os.getpid(), flush=True)
signal.pause()
"""
    with subprocess.Popen([*prefork.python(), "-c", text], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        pid = int(process.stdout.readline())
        process.send_signal(number)
        assert process.wait(30) == status
        assert process.stdout.read() == "", "its call has ended, too"
    assert pid != process.pid


def test_an_error_is_a_traceback_and_nslab_is_nslab() -> None:
    for done in both("-c", "raise ValueError('so')"):
        assert (done.returncode, done.stderr.splitlines()[-1]) == (1, "ValueError: so")
    one, other = both("-m", "nslab", "nonsense")
    assert (one.stdout, one.stderr, one.returncode) == (other.stdout, other.stderr, other.returncode)
