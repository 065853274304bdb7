"""Containers: processes in the namespaces of a pod, with a file system of their own and few rights."""

from __future__ import annotations

import errno
import fcntl
import os
import signal

from nslab import syscall
from nslab.components.images import agnhost, kubedns, standin
from nslab.components.kubelet import rights
from nslab.components.runtime.node_context import IPC, NET, PID, UTS, NodeContext, host_of
from nslab.runtime.cgroups import PIDS
from nslab.runtime.marks import VARIABLE, Memory, mark

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Never

    from nslab.components.kubelet.rights import Rights
    from nslab.components.kubelet.sandbox import Sandbox
    from nslab.runtime.trust import Births

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


BUILT_IN: dict[str, Callable[[list[str], int], Never]] = {
    "agnhost": agnhost.main,
    "kubedns": kubedns.main,
    "standin": standin.main,
}
"""The programs that we have in us."""


class Spec:
    """What is to run: fields as of nslab.objects.container.Workload, and the container's number (64 hex digits).

    `readiness` and `liveness`: the fields of a HealthCheck. `security`: user, group, more groups, default
    capabilities that it does without, whether its root is read-only. `limits`: bytes of memory and of files,
    processes; 0: what is usual.
    """

    __slots__ = (
        "argv", "backoff", "container", "env", "limits", "liveness", "ns", "number", "port", "readiness", "restart",
        "security", "working_dir",
    )  # fmt: skip

    def __init__(
        self,
        ns: str,
        container: str,
        argv: list[str],
        env: list[tuple[str, str]],
        working_dir: str,
        port: int,
        number: str,
        restart: str = "Never",
        readiness: dict[str, Any] | None = None,
        liveness: dict[str, Any] | None = None,
        backoff: float = 10.0,
        security: list[Any] | None = None,
        limits: list[int] | None = None,
    ) -> None:
        self.ns, self.container, self.argv, self.env = ns, container, argv, env
        self.working_dir, self.port, self.number = working_dir or "/", port, number
        self.restart, self.backoff = restart, backoff
        self.readiness, self.liveness = readiness, liveness
        self.security, self.limits = security or [0, 0, [], [], False], limits or [0, 0, 0]

    def equals(self, other: Spec) -> bool:
        """Whether the same is to run."""
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    @property
    def built_in(self) -> bool:
        """Whether it is a program that we have in us."""
        return os.path.basename(self.argv[0]) in BUILT_IN

    @property
    def read_only(self) -> bool:
        """Whether it may write nothing of its root."""
        return bool(self.security[4])

    @property
    def group(self) -> str:
        """The name of its control group within the lab's."""
        return f"{host_of(self.ns)}.{self.container}"

    def kept(self, attempt: int) -> dict[str, Any]:
        """What the next process of the node must know of it, so many runs after its first."""
        return {"number": self.number, "port": self.port, "attempt": attempt, "security": self.security}


class Pipes:
    """What a container says: stdout, stderr, and how its start went."""

    def __init__(self) -> None:
        self.pairs = tuple(os.pipe() for _ in range(3))

    @property
    def ends(self) -> tuple[int, int, int]:
        """The read ends."""
        out, err, report = (read for read, _ in self.pairs)
        return out, err, report

    def keep(self) -> None:
        """For the parent: close the write ends; the read ends never block."""
        for read, write in self.pairs:
            os.close(write)
            os.set_blocking(read, False)

    def take(self, template: int) -> tuple[int, int]:
        """For the child: make them its stdout and stderr, and keep two descriptors: for the report, and `template`."""
        # Open for reading too (as containerd does with its FIFOs): where pause could not be given it to keep, a pipe
        # whose only reader was the node's process would break when that is killed.
        both = [os.open(f"/proc/self/fd/{write}", os.O_RDWR) for _, write in self.pairs[:2]]
        wanted = (*both, self.pairs[2][1], template)
        # Out of the way first: any of them may have the number of another's place.
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64) for fd in wanted]
        for number, fd in enumerate(high, start=1):
            os.dup2(fd, number, inheritable=number < 3)
        os.closerange(5, 1 << 20)
        return 3, 4


def start(
    context: NodeContext,
    memory: Memory,
    births: Births,
    spec: Spec,
    attempt: int,
    sandbox: Sandbox | None,
    pause: int,
    clean: Callable[[], None],
) -> tuple[int, tuple[int, int, int]]:
    """Fork a container; its number, and the read ends of its pipes. The child reports what fails from then on.

    `pause`: a pidfd of the pod's pause process, if there is one.
    """
    pipes, ready = Pipes(), rights.of(spec.security)

    def child() -> None:
        _child(context, memory, spec, pipes, ready, clean)

    with context.away(NET, UTS, IPC, PID):
        context.enter(spec.ns)
        if sandbox:
            syscall.setns(pause, UTS | IPC | (PID if sandbox.share_pid else 0))
        if not (sandbox and sandbox.share_pid):
            syscall.unshare(PID)
        role = f"container/{spec.container}"

        def admit(pid: int) -> None:
            memory, _, pids = spec.limits
            context.groups.hold(spec.group, pid, pids, memory)
            if sandbox and sandbox.store:
                sandbox.store.keep(spec.container, attempt, pipes.ends)

        pid = births.fork(spec.ns, role, child, spec.kept(attempt), admit=admit)
    pipes.keep()
    return pid, pipes.ends


def environment(spec: Spec, hostname: str, role: str) -> dict[str, str]:
    """What a process of the container finds in its environment."""
    mine = {VARIABLE: mark(spec.ns, role)}
    # The mark first: of a long environment only the beginning fits where ps looks.
    home = "/" if spec.security[0] else "/root"
    return {**mine, "PATH": PATH, "HOSTNAME": hostname, "HOME": home, **dict(spec.env), **mine}


def _child(
    context: NodeContext, memory: Memory, spec: Spec, pipes: Pipes, ready: Rights, clean: Callable[[], None]
) -> None:
    status = 128
    template = context.template
    report, template.descriptor = pipes.take(template.descriptor)
    try:
        hostname = os.uname().nodename
        role = f"container/{spec.container}"
        title = " ".join(spec.argv) if spec.built_in else f"nslab-container {spec.container}"
        memory.show(memory.process_title(title, environment(spec, hostname, role)))
        clean()
        os.setsid()
        # Opened here: a container's file system has nothing of the lab's folder. A copy of the mount of that folder
        # alone leads nowhere else.
        answers_dns = spec.argv[0] == "kubedns" or (spec.argv[0] == "standin" and "--dns" in spec.argv)
        records = kubedns.folder(context.run) if answers_dns else -1
        _, storage, pids = spec.limits
        template.enter(host_of(spec.ns), storage, spec.read_only, 0 if context.groups.bounds_pids else pids or PIDS)
        os.close(template.descriptor)
        # The container's own: whoever has one of the machine's open may change its mode.
        os.dup2(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC), 0)
        ready.drop()
        # Not before: /proc leads who may trace other processes to their roots, such as that of one not yet shut in.
        os.chdir(spec.working_dir)
        if records >= 0:
            name_server = standin if spec.argv[0] == "standin" else kubedns
            name_server.main(spec.argv[1:], report, records)
        elif spec.built_in:
            BUILT_IN[os.path.basename(spec.argv[0])](spec.argv[1:], report)
        else:
            status = _exec(spec.argv, environment(spec, hostname, "container"), report)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except OSError as error:
        _say(report, f"{error.filename or ''}: {error.strerror}".removeprefix(": "))
    except BaseException as error:
        _say(report, f"{type(error).__name__}: {error}")
    finally:
        os._exit(status)


def _exec(argv: list[str], env: dict[str, str], report: int) -> int:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        execute(argv, env)
    except FileNotFoundError as error:
        _say(report, f"exec {argv[0]}: {error.strerror}")
        return 127
    except OSError as error:
        _say(report, f"exec {argv[0]}: {error.strerror}")
        return 126


def execute(argv: list[str], env: dict[str, str]) -> Never:
    """Become a program, found on the PATH of `env`; OSError why not.

    os.execvpe would import a module for that, and the interpreter's may lie where a container sees nothing.
    """
    if "/" in argv[0]:
        os.execve(argv[0], argv, env)
    refused: OSError = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    for folder in env.get("PATH", PATH).split(":"):
        try:
            os.execve(f"{folder or '.'}/{argv[0]}", argv, env)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            refused = error
    raise refused


def _say(report: int, text: str) -> None:
    os.write(report, text.encode())
