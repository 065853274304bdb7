"""What the process of a command does between its fork and exec: namespaces, a terminal or pipes, rights."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import struct

from nslab import syscall
from nslab.components.kubelet import rights
from nslab.components.kubelet.adopt import wait_exit
from nslab.components.kubelet.container import PATH, environment, execute
from nslab.components.runtime.node_context import IPC, MNT, NET, PID, UTS
from nslab.runtime import rpc
from nslab.runtime.marks import VARIABLE, mark

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from typing import Any, Never

    from nslab.components.kubelet.container import Spec
    from nslab.runtime.cgroups import Groups

    Request = dict[str, Any]

STARTED = b"started"
"""What a child reports when it is inside and about to exec; anything else is why not."""

_TCSETS, _TIOCSCTTY, _TIOCSWINSZ, _TIOCSPTLCK, _TIOCGPTPEER = 0x5402, 0x540E, 0x5414, 0x40045431, 0x5441
_PTMX = os.makedev(5, 2)


class Target:
    """Where a command goes: `pidfd` of a container's process and its spec, or the node itself."""

    def __init__(self, pidfd: int = -1, spec: Spec | None = None) -> None:
        self._pidfd, self.spec = pidfd, spec
        self._rights = rights.of(spec.security) if spec else None

    def enter_pid(self) -> None:
        """Have our next child born in the target's pid namespace."""
        if self._pidfd >= 0:
            syscall.setns(self._pidfd, PID)

    def enter(self) -> None:
        """Go into all its other namespaces."""
        if self._pidfd >= 0:
            syscall.setns(self._pidfd, MNT | NET | UTS | IPC)

    def joining(self, groups: Groups) -> Callable[[], None]:
        """What puts a process where the container's limits hold for it."""
        spec = self.spec
        return (lambda: groups.enter(spec.group)) if spec else (lambda: None)

    def drop_rights(self) -> None:
        """Keep no more rights than the container has. On the node itself a command has all of them."""
        if self.spec and self._rights:
            if uid := self.spec.security[0]:
                os.fchown(0, uid, -1)  # as its other streams become its user's, who may open them again by name
            self._rights.drop()

    def ends(self, seconds: float) -> bool:
        """Whether the process ends, or has ended, within so many seconds."""
        return self._pidfd >= 0 and wait_exit(self._pidfd, seconds)

    def close(self) -> None:
        """Let go of the process."""
        if self._pidfd >= 0:
            os.close(self._pidfd)


def become(
    target: Target,
    request: Request,
    pipes: list[int],
    report: socket.socket,
    clean: Callable[[], None],
    join: Callable[[], None],
) -> Never:
    """Become the command. `pipes`: its ends of what is not the terminal's."""
    try:
        join()
        _go_in(target, request, pipes, report, clean)
        status = _exec(target, request)
    except ProcessLookupError:
        status = 126  # it ended meanwhile: without a word, as if it had taken us with it
    except BaseException as error:
        status = 126
        report.send(str(getattr(error, "strerror", None) or error).encode()[:1000])
    finally:
        os._exit(status)


def _go_in(
    target: Target, request: Request, pipes: list[int], report: socket.socket, clean: Callable[[], None]
) -> None:
    # Before a container sees us: what we have open, and our memory, is not for it to look at.
    syscall.prctl(syscall.PR_SET_DUMPABLE, 0)
    clean()
    _default_signals()
    os.setsid()
    target.enter()
    master, streams = _streams(request, pipes)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    rpc.send_descriptors(report, STARTED, [master] if master >= 0 else [])


def _streams(request: Request, pipes: list[int]) -> tuple[int, list[int]]:
    """The terminal's master or -1, and what become stdin, stdout and stderr: out of the way of these numbers."""
    master, mine = -1, pipes
    if request["tty"]:
        master, terminal = _terminal(request)
        mine = [terminal, terminal, *pipes]
    if not request["stderr"]:
        mine = [*mine, mine[1]]
    return master, [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64) for fd in mine]


def _terminal(request: Request) -> tuple[int, int]:
    """A new pseudo-terminal of the file system that we are in, controlling us: its two sides."""
    master = os.open("/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    if os.fstat(master).st_rdev != _PTMX:
        raise OSError(errno.ENOTTY, "/dev/pts/ptmx makes no terminals")
    fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
    # By its master, not by a name that leads who knows where.
    terminal = fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY)
    if request["modes"]:
        fcntl.ioctl(terminal, _TCSETS, bytes.fromhex(request["modes"]))
    fcntl.ioctl(terminal, _TIOCSWINSZ, struct.pack("4H", request["rows"], request["columns"], 0, 0))
    fcntl.ioctl(terminal, _TIOCSCTTY, 0)
    return master, terminal


def _exec(target: Target, request: Request) -> int:
    argv = request["argv"]
    what, status = request["working_dir"] or (target.spec.working_dir if target.spec else "/"), 126
    try:
        os.closerange(3, 1 << 20)
        os.umask(0o022)
        target.drop_rights()
        # Not before: /proc leads who may trace other processes to their roots, such as that of one not yet shut in.
        os.chdir(what)
        # With the node's process ends what it alone waits for. (Given up with rights, so asked for after them.)
        syscall.prctl(syscall.PR_SET_PDEATHSIG, signal.SIGKILL)
        what, status = argv[0], 127
        execute(argv, _environment(request, target.spec))
    except OSError as error:
        os.write(2, f"nslab: {what}: {error.strerror}\n".encode("utf-8", "surrogateescape"))
        return status if isinstance(error, FileNotFoundError) else 126
    except ValueError as error:
        os.write(2, f"nslab: {what}: {error}\n".encode("utf-8", "backslashreplace"))
        return 126


def _environment(request: Request, spec: Spec | None) -> dict[str, str]:
    """What a container has when it starts, and what the caller tells of its terminal. The mark is the command's own."""
    hostname, own = os.uname().nodename, {VARIABLE: mark(request["ns"], "exec")}
    ours = environment(spec, hostname, "exec") if spec else {"PATH": PATH, "HOSTNAME": hostname, "HOME": "/root"}
    return {**ours, **request["env"], **own}


def _default_signals() -> None:
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
