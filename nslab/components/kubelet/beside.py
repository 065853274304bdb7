"""A command's process between fork and exec: namespaces, a terminal or pipes, rights."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import struct

from nslab import syscall
from nslab.components.kubelet import rights
from nslab.components.kubelet.adopt import wait_exit
from nslab.components.kubelet.container import environment, execute
from nslab.components.runtime.node_context import IPC, MNT, NET, PID, UTS
from nslab.runtime import rpc
from nslab.runtime.handlers import DEFAULT, handle
from nslab.runtime.marks import VARIABLE, mark
from nslab.runtime.mounts import BIRD, PATH

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from typing import Any, Never

    from nslab.components.kubelet.container import Spec
    from nslab.runtime.cgroups import Groups

    Request = dict[str, Any]

STARTED = b"started"
"""The report of a child that is inside and about to exec; anything else is an error."""

_TCSETS, _TIOCSCTTY, _TIOCSWINSZ, _TIOCSPTLCK, _TIOCGPTPEER = 0x5402, 0x540E, 0x5414, 0x40045431, 0x5441
_PTMX = os.makedev(5, 2)


class Target:
    """Where a command runs: in a container (`pidfd` of its process, `spec`), or on the node itself."""

    def __init__(self, pidfd: int = -1, spec: Spec | None = None) -> None:
        self._pidfd, self.spec = pidfd, spec
        self._rights = rights.of(spec.security) if spec else None

    def enter_pid(self) -> None:
        """Enter the target's pid namespace, which takes effect for the next child."""
        if self._pidfd >= 0:
            syscall.setns(self._pidfd, PID)

    def enter(self) -> None:
        """Enter all other namespaces of the target."""
        if self._pidfd >= 0:
            syscall.setns(self._pidfd, MNT | NET | UTS | IPC)

    def joining(self, groups: Groups) -> Callable[[], None]:
        """A function that moves the calling process into the container's control group."""
        spec = self.spec
        return (lambda: groups.enter(spec.group)) if spec else (lambda: None)

    def drop_rights(self) -> None:
        """Drop to the rights of the container. On the node itself a command keeps all."""
        if self.spec and self._rights:
            if uid := self.spec.security[0]:
                os.fchown(0, uid, -1)  # like stdout and stderr (see Rights): its user may open it by name
            self._rights.drop()

    def ends(self, seconds: float) -> bool:
        """Whether the target's process ends within `seconds`."""
        return self._pidfd >= 0 and wait_exit(self._pidfd, seconds)

    def close(self) -> None:
        """Close the pidfd."""
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
    """Execute the command in this process. `pipes`: its ends of the streams that are not the terminal's."""
    try:
        join()
        _go_in(target, request, pipes, report, clean)
        status = _exec(target, request)
    except ProcessLookupError:
        status = 126  # the target has ended: no report, as if its end had killed this process
    except BaseException as error:
        status = 126
        report.send(str(getattr(error, "strerror", None) or error).encode()[:1000])
    finally:
        os._exit(status)


def _go_in(
    target: Target, request: Request, pipes: list[int], report: socket.socket, clean: Callable[[], None]
) -> None:
    # Before the container can see this process: it must not inspect its descriptors and memory.
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
    """The terminal's master or -1, and the future stdin, stdout and stderr, on descriptors from 64."""
    master, mine = -1, pipes
    if request["tty"]:
        master, terminal = _terminal(request)
        mine = [terminal, terminal, *pipes]
    if not request["stderr"]:
        mine = [*mine, mine[1]]
    return master, [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64) for fd in mine]


def _terminal(request: Request) -> tuple[int, int]:
    """Open a pseudo-terminal of this mount namespace's devpts, make it controlling, and return its two sides."""
    master = os.open("/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    if os.fstat(master).st_rdev != _PTMX:
        raise OSError(errno.ENOTTY, "/dev/pts/ptmx is not a terminal multiplexer")
    fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
    # Through its master, because a container controls what a name in /dev/pts leads to.
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
        # Only after dropping rights: with CAP_SYS_PTRACE, /proc/PID/root leads out of the container.
        os.chdir(what)
        # The command ends with the node's process. (A change of credentials clears the setting, so it comes after.)
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
    """The container's environment with the caller's variables of the terminal, and the command's own mark."""
    hostname, own = os.uname().nodename, {VARIABLE: mark(request["ns"], "exec")}
    on_node = {"PATH": f"{PATH}:{BIRD}", "HOSTNAME": hostname, "HOME": "/root"}
    base = environment(spec, hostname, "exec") if spec else on_node
    return {**base, **request["env"], **own}


def _default_signals() -> None:
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        handle(number, DEFAULT)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
