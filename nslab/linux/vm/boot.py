"""A second kernel with all drivers, in seconds and without a hypervisor: User-Mode Linux over this machine's root.

This module boots it, copies bytes between our standard streams and its consoles, and returns the exit status; guest.py
runs inside. The two share a private folder, which the guest mounts through hostfs.

    console 0  the kernel's own messages, in a log that is shown only if it fails
    console 1  the command's standard input and output
    console 2  its standard error
"""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import tty
from base64 import b64encode
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from nslab.dataclass import dataclass
from nslab.errors import Missing, NslabError
from nslab.linux.vm import guest as vm_guest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

KERNELS = ("linux.uml", "linux")
"""User-Mode Linux by Debian's name, and by its own."""
MODULES = "/usr/lib/uml/modules"
INSIDE = "NSLAB_VM"
"""Set in the environment of the command inside."""

_CHUNK = 2048  # bytes of input at a time: as base64 they fit a line of the guest's terminal (4095 bytes)


def run(command: Sequence[str], *, memory: str = "1G", cwd: str | None = None) -> int:
    """Run `command` (by default a shell) under a kernel of its own; return its exit status, or 128 + N for signal N.

    It sees this machine's files, read-only except for the folder `cwd` (by default the current one).
    """
    kernel = kernel_here()
    interactive = os.isatty(0) and os.isatty(1)
    try:
        with _ended_by_exception(), tempfile.TemporaryDirectory(prefix="nslab-vm-") as meeting:
            task = vm_guest.Task(
                command=tuple(command) or (os.environ.get("SHELL", "/bin/sh"),),
                cwd=os.path.realpath(cwd or "."),
                environment={**os.environ, "PATH": _path(), INSIDE: "1"},
                visible=(str(Path(vm_guest.__file__).parents[3]), sys.prefix),
                modules=f"{MODULES}/{_release(kernel)}",
                window=(*shutil.get_terminal_size(),) if interactive else None,
            )
            Path(meeting, vm_guest.TASK).write_text(json.dumps(asdict(task)))
            with _raw_terminal(interactive), _booted(kernel, meeting, memory) as guest:
                _carry(guest, interactive)
            return _status(Path(meeting))
    except _Ended as ended:
        return 128 + ended.number
    except BrokenPipeError:
        return 128 + signal.SIGPIPE


def _path() -> str:
    """The command's PATH: the caller's, then the folder of this nslab, which for a clone is on no PATH."""
    return os.pathsep.join((os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)))


def kernel_here() -> str:
    """The path of a User-Mode Linux that runs on this machine; Missing if there is none."""
    found = next(filter(None, map(shutil.which, KERNELS)), None)
    if found is None:
        raise Missing("`nslab vm` needs User-Mode Linux, which is not here; on Debian: apt install user-mode-linux")
    release = _release(found)
    if lacks_room(release, Path("/proc/cpuinfo").read_text()):
        raise Missing(f"User-Mode Linux {release} has no room for this processor's AMX registers; 6.13 and later have")
    return found


def _release(kernel: str) -> str:
    return subprocess.run([kernel, "--version"], capture_output=True, text=True, check=True).stdout.split()[-1]


def lacks_room(release: str, cpuinfo: str) -> bool:
    """Whether this release cannot save a process's registers on this processor."""
    # Before 6.13 it has 2,696 bytes for them, and ptrace copies all or none.
    return tuple(map(int, re.findall(r"\d+", release)[:2])) < (6, 13) and "amx_tile" in cpuinfo.split()


class _Ended(BaseException):
    """A signal to end; raised as an exception, so that every context manager cleans up."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def _ended_by_exception() -> Iterator[None]:
    def end(number: int, _: FrameType | None) -> None:
        raise _Ended(number)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    # Ignored signals stay ignored: a shell ignores SIGINT for its background processes.
    before = {n: signal.signal(n, end) for n in numbers if signal.getsignal(n) != signal.SIG_IGN}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _raw_terminal(interactive: bool) -> Iterator[None]:
    """Raw mode: every key goes to the guest's terminal, also ^C, which acts on the command there."""
    if not interactive:
        yield
        return
    before = termios.tcgetattr(0)
    try:
        tty.setraw(0)
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


@dataclass(frozen=True, slots=True)
class _Guest:
    """A running kernel, and our ends of its consoles."""

    pid: int
    input: int
    output: int
    error: int


@contextmanager
def _booted(kernel: str, meeting: str, memory: str) -> Iterator[_Guest]:
    """Boot the kernel and yield it; on exit kill all its processes, whatever happened."""
    (inputs, to_input), (from_output, outputs), (from_error, errors) = (os.pipe() for _ in range(3))
    theirs, ours = (inputs, outputs, errors), (to_input, from_output, from_error)
    os.set_blocking(to_input, False)
    line = [
        *(kernel, f"mem={memory}", f"uml_dir={meeting}", "umid=kernel", "panic=1", "quiet"),
        *("root=none", "rootfstype=hostfs", "rootflags=/", "ro"),
        *("con=null", "con0=null,fd:1", f"con1=fd:{inputs},fd:{outputs}", f"con2=null,fd:{errors}"),
        *(f"init={sys.executable}", "--", "-I", "-S", vm_guest.__file__, meeting),
    ]
    with Path(meeting, "log").open("wb") as log:
        process = subprocess.Popen(
            line, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=theirs, start_new_session=True
        )
    for fd in theirs:
        os.close(fd)
    try:
        with _watched(process.pid, meeting):
            yield _Guest(process.pid, *ours)
    finally:
        # The kernel and the host processes of its own processes are one process group.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for fd in ours:
            os.close(fd)


@contextmanager
def _watched(group: int, meeting: str) -> Iterator[None]:
    """Start a shell that cleans up if this process is killed before it sends goodbye."""
    last_will = 'read goodbye && exit; kill -9 "-$1"; rm -rf -- "$2"'
    watcher = subprocess.Popen(
        ["/bin/sh", "-c", last_will, "nslab-vm", str(group), meeting],
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        watcher.communicate(b"goodbye\n")


def _carry(guest: _Guest, interactive: bool) -> None:
    """Copy bytes both ways until the guest ends: keys as they are, other input as lines of base64, then ^D."""
    outputs = {guest.output: 1, guest.error: 2}
    waiting, more = b"", False
    gone = os.pidfd_open(guest.pid)
    try:
        ready = _ready({gone, guest.output}, set())
        if guest.output in ready:
            more = os.read(guest.output, len(vm_guest.READY)) == vm_guest.READY
        while gone not in ready:
            ready = _ready(
                {gone, *outputs, *([0] if more and not waiting else [])}, {guest.input} if waiting else set()
            )
            if 0 in ready:
                data = os.read(0, _CHUNK)
                more = bool(data)
                waiting = data if interactive else b64encode(data) + b"\n" if data else b"\x04"
            elif guest.input in ready:
                with suppress(BrokenPipeError):
                    waiting = waiting[os.write(guest.input, waiting) :]
            for fd in ready & outputs.keys():
                _copy(fd, outputs[fd])
        for fd, target in outputs.items():
            os.set_blocking(fd, False)
            with suppress(BlockingIOError):
                while _copy(fd, target):
                    pass
    finally:
        os.close(gone)


def _ready(readable: set[int], writable: set[int]) -> set[int]:
    # poll and not epoll: standard input may be a file or /dev/null, which epoll refuses.
    poll = select.poll()
    for fd in readable:
        poll.register(fd, select.POLLIN)
    for fd in writable:
        poll.register(fd, select.POLLOUT)
    return {fd for fd, _ in poll.poll()}


def _copy(source: int, target: int) -> bool:
    data = os.read(source, 1 << 16)
    view = memoryview(data)
    while view:
        view = view[os.write(target, view) :]
    return bool(data)


def _status(meeting: Path) -> int:
    """The exit status that the guest wrote before its power-off."""
    try:
        return int((meeting / vm_guest.STATUS).read_text())
    except FileNotFoundError:
        log = (meeting / "log").read_text(errors="replace").strip()
        raise NslabError(f"the kernel of `nslab vm` ended before the command did; its log:\n{log}") from None
