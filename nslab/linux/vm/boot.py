"""A second kernel that has everything, in seconds and without a hypervisor: User-Mode Linux over this machine's root.

Outside, here: boot it, carry bytes between our standard streams and its consoles, bring back the exit status. What
happens inside is vm_guest's. The two meet in a private folder, which the guest reaches through hostfs.

    console 0  the kernel's own messages, kept in a log that is shown only if it fails
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
"""User-Mode Linux as Debian names it, and as it names itself."""
MODULES = "/usr/lib/uml/modules"
INSIDE = "NSLAB_VM"
"""Set in the environment of what runs in there."""

_CHUNK = 2048  # bytes of input at a time: as a line of base64 they fit the guest's terminal, which cuts lines at 4095


def run(command: Sequence[str], *, memory: str = "1G", cwd: str | None = None) -> int:
    """Run `command` (a shell, if empty) under a kernel of its own; its exit status, or 128 + N if signal N ended it.

    It sees this machine's files, read-only but for the folder `cwd`, which is the current one unless told.
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
    """Where the command is looked for: behind all else, where this nslab is. A clone's is on nobody's PATH."""
    return os.pathsep.join((os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)))


def kernel_here() -> str:
    """The path of a User-Mode Linux that runs on this machine; Missing if there is none."""
    found = next(filter(None, map(shutil.which, KERNELS)), None)
    if found is None:
        raise Missing("`nslab vm` boots User-Mode Linux, which is not here; on Debian: apt install user-mode-linux")
    release = _release(found)
    if lacks_room(release, Path("/proc/cpuinfo").read_text()):
        raise Missing(f"User-Mode Linux {release} has no room for this processor's AMX registers; 6.13 and later have")
    return found


def _release(kernel: str) -> str:
    return subprocess.run([kernel, "--version"], capture_output=True, text=True, check=True).stdout.split()[-1]


def lacks_room(release: str, cpuinfo: str) -> bool:
    """Whether this release cannot keep a process's registers on this processor."""
    # Before 6.13 it has 2,696 bytes for them, and ptrace takes all of them or none.
    return tuple(map(int, re.findall(r"\d+", release)[:2])) < (6, 13) and "amx_tile" in cpuinfo.split()


class _Ended(BaseException):
    """A signal told this process to end; an exception, so that everything is put back on the way out."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def _ended_by_exception() -> Iterator[None]:
    def end(number: int, _: FrameType | None) -> None:
        raise _Ended(number)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    # What is ignored stays so: the shell ignores ^C for what it runs in the background.
    before = {n: signal.signal(n, end) for n in numbers if signal.getsignal(n) != signal.SIG_IGN}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _raw_terminal(interactive: bool) -> Iterator[None]:
    """Every key goes to the guest's terminal, ^C too: it acts on what runs there."""
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
    """The kernel at work; on leaving, whatever happened, nothing of it is left."""
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
        # The kernel, and the processes in which it runs those of its own, are one group.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for fd in ours:
            os.close(fd)


@contextmanager
def _watched(group: int, meeting: str) -> Iterator[None]:
    """Should this process be killed before it says goodbye, a shell that waits for that cleans up after it."""
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
    """Carry bytes both ways until the guest is gone: keys as they come, other input in lines of base64, ended by ^D."""
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
    # poll, not epoll: standard input may be a file or /dev/null, which epoll refuses.
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
    """What the guest wrote last, before it switched itself off."""
    try:
        return int((meeting / vm_guest.STATUS).read_text())
    except FileNotFoundError:
        log = (meeting / "log").read_text(errors="replace").strip()
        raise NslabError(f"the kernel of `nslab vm` ended before the command did; its last words:\n{log}") from None
