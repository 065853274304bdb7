"""Started strangely: signals at any moment of a start, signals ignored or blocked, limits, a full disk to print to."""

from __future__ import annotations

import importlib.util
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from functools import cache
from typing import TYPE_CHECKING

import pytest

from tests.kernel.labkit import NSLAB, ROOT, OwnLab, nslab
from tests.slow import often

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CALLS = (["labs"], ["--help"], ["plan", "services-iptables"], ["show", "calico-two-node"], ["doctor"], ["ps"])
MOMENTS = often(96)
INSTALLED = os.path.join(os.path.dirname(sys.executable), "nslab")
STRACE = pytest.mark.skipif(shutil.which("strace") is None, reason="strace, which sends the signal, is not installed")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[OwnLab]:
    made = OwnLab(tmp_path, "kubenet-two-node")
    yield made
    made.clear()


def interrupted(argv: list[str], seconds: float, **options: int) -> tuple[int, str]:
    """Status and last words of a program that SIGINT reached so long after its start."""
    with subprocess.Popen(
        argv, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **options
    ) as process:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and process.poll() is None:
            pass
        process.send_signal(signal.SIGINT)
        return process.wait(20), process.stderr.read() if process.stderr else ""


def at_opening(module: str, *argv: str) -> subprocess.CompletedProcess[str]:
    """A call that SIGINT reaches while Python opens the compiled file of a module."""
    spec = importlib.util.find_spec(module)
    assert spec
    assert spec.cached
    inject = ["-P", spec.cached, "-e", "trace=openat", "-e", "inject=openat:signal=INT"]
    argv = ("strace", "-f", "-qq", "-o", "/dev/null", *inject, "--", *argv)
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60)


OURS = ("nslab.cli.app", "typer", "click.core", "nslab.admission.load")
"""Modules that are imported after the first line of ours; the script that pip makes imports some of Python's before."""


@STRACE
@pytest.mark.parametrize(
    ("call", "module"),
    [
        *(((sys.executable, "-I", "-m", "nslab"), module) for module in ("signal", "enum", *OURS)),
        *(((INSTALLED,), module) for module in OURS),
        # It keeps the signal from Python until that can be answered.
        *(((str(ROOT / "scripts/nslab"),), module) for module in ("encodings", "encodings.utf_8", "enum", *OURS)),
    ],
    ids=lambda value: value if isinstance(value, str) else os.path.basename(value[0]),
)
def test_ctrl_c_while_a_module_is_imported_is_no_traceback(call: tuple[str, ...], module: str) -> None:
    done = at_opening(module, *call, "plan", "pause-pod")
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


@cache
def length(verb: str) -> float:
    """Seconds that a call takes by itself."""
    started = time.monotonic()
    nslab(*next(call for call in CALLS if call[0] == verb), env=os.environ)
    return time.monotonic() - started


@pytest.mark.slow
def test_ctrl_c_is_never_answered_by_a_traceback() -> None:
    # As scripts/nslab starts it: Python itself, which would answer by a traceback, does not hear of it yet.
    chance = random.Random(1)
    for number in range(MOMENTS):
        call = CALLS[number % len(CALLS)]
        argv = ["env", "--block-signal=INT", sys.executable, "-I", "-m", "nslab", *call]
        status, output = interrupted(argv, chance.uniform(0, length(call[0])))
        # env, too, has a moment before it blocks the signal, and dies of it.
        assert status in (0, 1, -signal.SIGINT), output
        assert "Traceback" not in output
        assert output.count("\n") <= 1


@pytest.mark.slow
def test_from_its_first_line_on_there_is_none_however_it_is_started() -> None:
    chance = random.Random(2)
    for number in range(MOMENTS):
        call = CALLS[number % len(CALLS)]
        argv = [INSTALLED, *call]
        status, output = interrupted(argv, chance.uniform(0, length(call[0])))
        assert status in (0, 1, -signal.SIGINT), output
        # What Python does before it reads a line of ours is its own to answer for.
        assert "/nslab/cli/" not in output


IGNORED = (signal.SIGCHLD, signal.SIGPIPE, signal.SIGHUP, signal.SIGALRM, signal.SIGTTOU)


def ignoring(*arguments: object) -> subprocess.CompletedProcess[str]:
    """A call by somebody who ignores signals."""
    numbers = [int(number) for number in IGNORED]
    text = (
        "import os, signal, sys\n"
        f"for number in {numbers}: signal.signal(number, signal.SIG_IGN)\n"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    argv = [sys.executable, "-c", text, *NSLAB, *map(str, arguments)]
    return subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, timeout=60)


def test_what_the_caller_ignores_does_not_matter(lab: OwnLab) -> None:
    up = ignoring("up", lab.file)
    assert (up.returncode, up.stderr) == (0, "")
    output = ignoring("exec", f"{lab.name}/pod-a", "--", "sh", "-c", "yes | head -1; true & wait $!; echo $?")
    assert (output.returncode, output.stdout) == (0, "y\n0\n")
    down = ignoring("down", lab.name)
    assert (down.returncode, down.stderr, lab.left()) == (0, "", [])


def test_what_the_caller_blocks_is_heard(lab: OwnLab) -> None:
    every = {number for number in signal.valid_signals() if number not in (signal.SIGKILL, signal.SIGSTOP)}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, every)
    try:
        nslab("up", lab.file, env=os.environ)
        argv = ("exec", f"{lab.name}/pod-a", "--", "grep", "SigBlk", "/proc/self/status")
        output = nslab(*argv, env=os.environ).stdout
        process = subprocess.Popen([*NSLAB, "logs", f"{lab.name}/pod-a", "-f"], cwd=ROOT, stdout=subprocess.PIPE)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert int(output.split()[1], 16) == 0
    with process:
        try:
            assert process.stdout
            process.stdout.readline()
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == -signal.SIGINT
        finally:
            process.kill()


def test_a_low_limit_of_open_files_is_raised(lab: OwnLab) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limited = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (40, hard))}
    up = nslab("up", lab.file, **limited)
    assert (up.returncode, up.stderr) == (0, "")
    probe = nslab("probe", lab.name, **limited)
    assert (probe.returncode, probe.stderr) == (0, "")


def test_a_limit_that_cannot_be_raised_keeps_nobody_from_starting(lab: OwnLab) -> None:
    """As under sudo, which allows no cores, on a machine whose root may raise nothing."""
    poor = ["setpriv", "--bounding-set=-sys_resource", "prlimit", "--core=0:0", *NSLAB, "up", str(lab.file)]
    up = subprocess.run(poor, capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert (up.returncode, up.stderr) == (0, "")


def test_where_there_is_no_room_to_print_the_sentence_says_so(lab: OwnLab) -> None:
    with open("/dev/full", "w") as full:
        for call in (["up", lab.file], ["probe", lab.name, "-o", "json"], ["down", lab.name]):
            argv = [*NSLAB, *map(str, call)]
            done = subprocess.run(argv, stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT, timeout=60)
            output = "nslab: cannot write to standard output: No space left on device\n"
            assert (done.returncode, done.stderr) == (5, output), "what was to be done is done"
            assert bool(lab.left()) == (call[0] != "down")
        mute = subprocess.run([*NSLAB, "no-verb"], stdout=full, stderr=full, cwd=ROOT, timeout=60)
        assert mute.returncode == 2


# With -d 8000 Python 3.11 itself may abort ("Cannot recover from stack overflow"): it has no memory for an error.
@pytest.mark.parametrize("limit", ["-f 0", "-f 1", "-v 40000", "-d 5000", "-d 6500", "-n 12", "-n 40", "-u 1"])
def test_any_limit_is_fine_or_one_sentence(lab: OwnLab, limit: str) -> None:
    argv = ["bash", "-c", f'ulimit {limit}; exec "$@"', "bash", *NSLAB, "up", str(lab.file)]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert "Traceback" not in done.stderr
    if done.returncode:
        assert done.stderr.startswith("nslab: ")
        assert done.stderr.count("\n") == 1
        assert lab.left() == []


@pytest.mark.parametrize("error", ["MemoryError", "SystemError('error return without exception set')"])
def test_too_little_memory_is_a_sentence(error: str) -> None:
    text = f"from nslab.cli import app, commands\ndef tree(*_): raise {error}\ncommands.tree = tree; app.main(['labs'])"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr.count("\n")) == (4, 1)
    assert done.stderr.startswith("nslab: there is not enough memory")
