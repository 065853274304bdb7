"""Containers: processes in the namespaces of a pod, with their own file system and few rights."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import sys

from nslab import syscall
from nslab.components.images import agnhost, kubedns, standin
from nslab.components.kubelet import rights
from nslab.components.runtime.node_context import IPC, NET, PID, UTS, NodeContext, host_of
from nslab.runtime.cgroups import PIDS
from nslab.runtime.handlers import DEFAULT, handle
from nslab.runtime.marks import VARIABLE, Memory, mark
from nslab.runtime.mounts import PATH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Never

    from nslab.components.kubelet.rights import Rights
    from nslab.components.kubelet.sandbox import PodSandbox
    from nslab.components.runtime.volumes import Mount
    from nslab.runtime.trust import Births

BUILT_IN: dict[str, Callable[[list[str], int], Never]] = {
    "agnhost": agnhost.main,
    "kubedns": kubedns.main,
    "standin": standin.main,
}
"""The programs of the built-in images."""


class Spec:
    """A container to run: the fields of nslab.objects.container.Workload, and its ID (64 hex digits).

    `readiness`, `liveness`, `startup`: the fields of a HealthCheck. `security`: user, group, supplementary groups,
    dropped default capabilities, whether its root is read-only. `limits`: bytes of memory, bytes of files, processes; 0
    means the default. `links`: the variables of Services, NAME=VALUE, separated by NUL. `mounts`: its volume mounts.
    `lifecycle`: its hooks, by name, with the fields of a HealthCheck. `grace`: seconds from SIGTERM to SIGKILL. `init`:
    "init" or "sidecar", for init containers; `after`: the names of those before it. `image`: as the pod names it.
    """

    __slots__ = (
        "after", "argv", "backoff", "container", "env", "grace", "image", "init", "lifecycle", "limits",
        "links", "liveness", "mounts", "ns", "number", "port", "readiness", "restart", "security", "startup",
        "working_dir",
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
        grace: float = 30.0,
        lifecycle: dict[str, dict[str, Any]] | None = None,
        init: str = "",
        after: Sequence[str] = (),
        startup: dict[str, Any] | None = None,
        links: str = "",
        mounts: Sequence[Mount] = (),
        image: str = "",
    ) -> None:
        self.ns, self.container, self.argv, self.env = ns, container, argv, env
        self.working_dir, self.port, self.number = working_dir or "/", port, number
        self.restart, self.backoff = restart, backoff
        self.readiness, self.liveness, self.startup = readiness, liveness, startup
        self.grace, self.lifecycle = grace, lifecycle
        self.init, self.after = init, after or ()
        self.mounts, self.image = mounts or (), image
        self.links = sys.intern(links)  # the same for all containers of a namespace
        self.security, self.limits = security or [0, 0, [], [], False], limits or [0, 0, 0]

    def equals(self, other: Spec) -> bool:
        """Whether two specs are the same; what plays their images is in `argv`."""
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__ if name != "image")

    @property
    def built_in(self) -> bool:
        """Whether it runs a built-in image."""
        return os.path.basename(self.argv[0]) in BUILT_IN

    @property
    def pre_stop(self) -> dict[str, Any] | None:
        """What is done before it ends."""
        return self.lifecycle.get("preStop") if self.lifecycle else None

    @property
    def post_start(self) -> dict[str, Any] | None:
        """What is done when it has started."""
        return self.lifecycle.get("postStart") if self.lifecycle else None

    @property
    def read_only(self) -> bool:
        """Whether its root file system is read-only."""
        return bool(self.security[4])

    @property
    def group(self) -> str:
        """The name of its control group within the lab's."""
        return f"{host_of(self.ns)}.{self.container}"

    def kept(self, attempt: int) -> dict[str, Any]:
        """The fields that the node's journal keeps for run number `attempt`."""
        return {"number": self.number, "port": self.port, "attempt": attempt, "security": self.security}


class Pipes:
    """A container's pipes: stdout, stderr, and the report of its start."""

    def __init__(self) -> None:
        self.pairs = tuple(os.pipe() for _ in range(3))

    @property
    def ends(self) -> tuple[int, int, int]:
        """The read ends."""
        out, err, report = (read for read, _ in self.pairs)
        return out, err, report

    def keep(self) -> None:
        """In the parent: close the write ends, and make the read ends non-blocking."""
        for read, write in self.pairs:
            os.close(write)
            os.set_blocking(read, False)

    def take(self, mounts: int) -> tuple[int, int]:
        """In the child: make them stdout and stderr, close all else, and return the report and `mounts` (3, 4)."""
        # Opened for reading, too (like containerd's FIFOs): if the pause process could not keep the read end, the pipe
        # would break when the node's process, its only reader, is killed.
        both = [os.open(f"/proc/self/fd/{write}", os.O_RDWR) for _, write in self.pairs[:2]]
        wanted = (*both, self.pairs[2][1], mounts)
        # To high numbers first: any of them may have the target number of another.
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
    sandbox: PodSandbox | None,
    pause: int,
    clean: Callable[[], None],
) -> tuple[int, tuple[int, int, int]]:
    """Fork a container; return its pid and the read ends of its pipes. The child reports later errors on the third.

    `pause`: a pidfd of the pod's pause process, or -1.
    """
    pipes, ready = Pipes(), rights.of(spec.security)

    def child() -> None:
        # Who has volumes starts from the mount namespace that has them.
        _child(context, memory, spec, pipes, ready, clean, pause if spec.mounts else context.template.descriptor)

    with context.away(NET, UTS, IPC, PID):
        context.enter(sandbox.network if sandbox else spec.ns)
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
    """The environment of a process in the container."""
    mine = {VARIABLE: mark(spec.ns, role)}
    # The mark first: only the beginning of a long environment fits into the space that /proc/PID/environ shows.
    home = "/" if spec.security[0] else "/root"
    links = dict(link.split("=", 1) for link in spec.links.split("\0") if link)
    return {**mine, "PATH": PATH, "HOSTNAME": hostname, "HOME": home, **links, **dict(spec.env), **mine}


def _child(
    context: NodeContext,
    memory: Memory,
    spec: Spec,
    pipes: Pipes,
    ready: Rights,
    clean: Callable[[], None],
    mounts: int,
) -> None:
    status = 128
    template = context.template
    report, template.descriptor = pipes.take(mounts)
    try:
        hostname = os.uname().nodename
        role = f"container/{spec.container}"
        title = " ".join(spec.argv) if spec.built_in else f"nslab-container {spec.container}"
        memory.show(memory.process_title(title, environment(spec, hostname, role)))
        clean()
        os.setsid()
        # Opened before `enter`: a container's file system has nothing of the lab's folder. The detached mount leads
        # nowhere else.
        answers_dns = spec.argv[0] == "kubedns" or (spec.argv[0] == "standin" and "--dns" in spec.argv)
        records = kubedns.folder(context.run) if answers_dns else -1
        _, storage, pids = spec.limits
        pids = 0 if context.groups.bounds_pids else pids or PIDS
        built_in = _built_in(spec)
        template.enter(host_of(spec.ns), storage, spec.read_only, pids, spec.mounts)
        os.close(template.descriptor)
        # The container's own /dev/null: a process with the machine's open could change its mode.
        os.dup2(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC), 0)
        ready.drop()
        # Only after dropping rights: with CAP_SYS_PTRACE, /proc/PID/root leads out of the container.
        os.chdir(spec.working_dir)
        if records >= 0:
            name_server = standin if spec.argv[0] == "standin" else kubedns
            name_server.main(spec.argv[1:], report, records)
        elif built_in:
            built_in(spec.argv[1:], report)
        else:
            status = _exec(spec.argv, environment(spec, hostname, "container"), report)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except OSError as error:
        _report(report, f"{error.filename or ''}: {error.strerror}".removeprefix(": "))
    except BaseException as error:
        _report(report, f"{type(error).__name__}: {error}")
    finally:
        os._exit(status)


def _built_in(spec: Spec) -> Callable[[list[str], int], Never] | None:
    """The function of a built-in program; it is imported by now, as a container does not see our modules."""
    if spec.built_in and spec.argv[1:2] == ["grpc-health-checking"]:
        from nslab.components.images import grpc_health  # memory that few need

        return grpc_health.main
    return BUILT_IN.get(os.path.basename(spec.argv[0]))


def _exec(argv: list[str], env: dict[str, str], report: int) -> int:
    handle(signal.SIGPIPE, DEFAULT)
    try:
        execute(argv, env)
    except FileNotFoundError as error:
        _report(report, f"exec {argv[0]}: {error.strerror}")
        return 127
    except OSError as error:
        _report(report, f"exec {argv[0]}: {error.strerror}")
        return 126


def execute(argv: list[str], env: dict[str, str]) -> Never:
    """Execute a program, found on the PATH of `env`; OSError on failure.

    os.execvpe would import a module, and the container may not see the interpreter's library.
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


def _report(report: int, text: str) -> None:
    os.write(report, text.encode())
