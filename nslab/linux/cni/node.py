"""One node as CNI plugins see it: its network, mounts and host name, and its own folders instead of the machine's."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
from typing import TYPE_CHECKING, Never

from nslab import syscall
from nslab.cni.result import PluginOutput
from nslab.linux import owned, signals
from nslab.linux.netns import lab_of, path
from nslab.linux.timeouts import scaled
from nslab.objects.names import host
from nslab.objects.process import NodeAgent
from nslab.runtime import trust
from nslab.runtime.mounts import hidden, own_machine, show
from nslab.runtime.trust import PROGRAMS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from nslab.cni.chain import Invocation

SECONDS = scaled(20.0)
"""Timeout of one plugin."""
LARGEST = 1 << 20
"""Bytes that nslab reads from each of a plugin's output streams."""
NAMES = "/run/netns"
_TOOLS = ("iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore")


class NodeNamespaces:
    """A node's namespaces, found through its process; if that is dead, each run makes the same mounts again.

    `run` is the lab's folder, `iptables` the variant whose rules this kernel accepts.
    """

    def __init__(self, ns: str, run: Path, iptables: str) -> None:
        self._ns, self._run, self._iptables = ns, str(run), iptables
        self._folder = f"{run}/nodes/{ns.rpartition('.')[2]}"

    def execute(self, invocation: Invocation, pod: str) -> PluginOutput:
        """Run a plugin for a pod's namespace (which may be gone) until it ends, or kill it at the timeout."""
        env = {"NSLAB": f"{self._ns} cni", "PATH": self._path(), "LC_ALL": "C.UTF-8", **invocation.env}
        if not path(pod).exists():
            env["CNI_NETNS"] = ""
        files = tuple(os.memfd_create(name) for name in ("stdin", "stdout", "stderr", "trouble"))
        try:
            os.pwrite(files[0], invocation.stdin.encode(), 0)
            folders = {os.path.dirname(invocation.program), *invocation.env.get("CNI_PATH", "").split(":")}
            trees = hidden(os.path.realpath(folder) for folder in folders if os.path.isabs(folder))
            try:
                pid = self._inside(pod, lambda: _become(invocation.program, env, files, trees))
            finally:
                for tree in trees.values():
                    os.close(tree)
            failed, status = _ended(pid, interruptible=invocation.command == "ADD")
            texts = [os.pread(descriptor, LARGEST, 0).decode("utf-8", "replace") for descriptor in files[1:]]
            return PluginOutput(status, texts[0], texts[1], failed or texts[2])
        finally:
            for descriptor in files:
                os.close(descriptor)

    def forget(self, pod: str) -> None:
        """Unmount the name of a pod's namespace in the node: the mount would keep the namespace alive."""
        if self._is_alive():
            _ended(self._inside("", lambda: _unbind(f"{NAMES}/{pod}")))

    def _inside(self, pod: str, then: Callable[[], Never]) -> int:
        """Fork a process in the node, bind `pod`'s namespace to its name there, and call `then`; returns its pid."""
        opened = [os.open(path(self._ns), os.O_RDONLY | os.O_CLOEXEC)]
        try:
            process = self._process()
            opened.append(syscall.open_tree(self._run) if process is None else process)
            named = os.open(path(pod), os.O_RDONLY | os.O_CLOEXEC) if pod and path(pod).exists() else -1
            opened += [named] if named >= 0 else []
            pid = os.fork()
            if pid == 0:
                try:
                    syscall.setns(opened[0], syscall.CLONE_NEWNET)
                    if process is None:
                        _own_mounts(self._ns, opened[1], self._run)
                    else:
                        syscall.setns(process, syscall.CLONE_NEWNS | syscall.CLONE_NEWUTS)
                    if named >= 0:
                        _bind(named, f"{NAMES}/{pod}")
                    then()
                except BaseException as error:
                    os.write(2, f"nslab: {self._ns}: {error}\n".encode())
                finally:
                    os._exit(125)
            return pid
        finally:
            for descriptor in opened:
                os.close(descriptor)

    def _process(self) -> int | None:
        """A pidfd of the node's process; None if it is dead."""
        node = owned.running(lab_of(self._ns)).get((self._ns, NodeAgent.role))
        with contextlib.suppress(OSError):
            return trust.verified(node) if node else None
        return None

    def _is_alive(self) -> bool:
        return (self._ns, NodeAgent.role) in owned.running(lab_of(self._ns))

    def _path(self) -> str:
        """The plugins' PATH; it puts the variant of iptables first whose rules this kernel accepts."""
        if self._iptables == "iptables":
            return PROGRAMS
        folder = f"{self._folder}/bin"
        os.makedirs(folder, exist_ok=True)
        program = os.path.realpath(shutil.which(self._iptables, path=PROGRAMS) or self._iptables)
        for name in _TOOLS:
            with contextlib.suppress(FileExistsError):
                os.symlink(program, f"{folder}/{name}")  # one multi-call program, which acts by argv[0]
        return f"{folder}:{PROGRAMS}"


def _own_mounts(ns: str, run: int, where: str) -> None:
    """Make the mounts that a node's process has."""
    syscall.unshare(syscall.CLONE_NEWNS)
    syscall.mount("none", "/", flags=syscall.MS_REC | syscall.MS_PRIVATE)
    own_machine(host(ns), where, run)


def _bind(namespace: int, name: str) -> None:
    """Bind a namespace to its name here. nsfs is one of few mounts that can be bound across mount namespaces."""
    os.makedirs(os.path.dirname(name), exist_ok=True)
    os.close(os.open(name, os.O_CREAT | os.O_RDONLY, 0o444))
    if os.stat(name).st_ino != os.fstat(namespace).st_ino:
        with contextlib.suppress(OSError):  # nothing is bound there
            syscall.umount(name)
        syscall.mount(f"/proc/self/fd/{namespace}", name, flags=syscall.MS_BIND)


def _unbind(name: str) -> Never:
    with contextlib.suppress(OSError):
        syscall.umount(name)
        os.unlink(name)
    os._exit(0)


def _become(program: str, env: Mapping[str, str], files: tuple[int, ...], trees: Mapping[str, int]) -> Never:
    """Execute the plugin in this process. If that fails, the reason goes into the last of `files`.

    `trees`: the plugin's folders on the machine, which a node does not see. The plugin sees them as they are, since
    its author runs it.
    """
    try:
        if trees:
            syscall.unshare(syscall.CLONE_NEWNS)
            show(trees, 0)
        os.chdir("/")
        os.umask(0o022)
        os.setsid()
        for number, descriptor in enumerate(files[:3]):
            os.dup2(descriptor, number)
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.execve(program, [program], dict(env))
    except OSError as error:
        os.write(files[3], f"cannot be run: {program}: {error.strerror}".encode())
    os._exit(126)


def _ended(pid: int, *, interruptible: bool = False) -> tuple[str, int]:
    """Wait for a process; return why it was killed, or "", and its status, as subprocess has it.

    If `interruptible`, a signal to nslab ends the wait and kills the process. Cleanup is never interrupted.
    """
    descriptor = os.pidfd_open(pid)
    failed, over = f"did not end within {SECONDS:g} s and was killed", False
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        with signals.allowed() if interruptible else contextlib.nullcontext():
            over = bool(poll.poll(SECONDS * 1000))
    finally:
        os.close(descriptor)
        if not over:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return "" if over else failed, status
