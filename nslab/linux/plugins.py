"""One node as CNI plugins see it: its network, mounts and host name, and a /var/lib that is not the machine's."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
from typing import TYPE_CHECKING, Never

from nslab import syscall
from nslab.cni.result import Answer
from nslab.linux import owned, stop
from nslab.linux.netns import lab_of, path
from nslab.linux.patience import patient
from nslab.net.objects import NodeAgent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from nslab.cni.chain import Order

SECONDS = patient(20.0)
"""What a plugin may take."""
LARGEST = 1 << 20
"""Bytes that are read of what it prints."""
STATE = "/var/lib"
"""Where plugins keep what they must remember (host-local: /var/lib/cni/networks)."""
NAMES = "/run/netns"
_FURNISHED = "/run/.own-var-lib"
_TOOLS = ("iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore")
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Node:
    """A node's namespaces, found by its process; where that is dead, mounts like its own are made for each run.

    `run` is the lab's folder, `iptables` the variant whose rules this kernel takes.
    """

    def __init__(self, ns: str, run: Path, iptables: str) -> None:
        self._ns, self._run, self._iptables = ns, str(run), iptables
        self._folder = f"{run}/nodes/{ns.rpartition('.')[2]}"
        self._pid = 0

    def execute(self, order: Order, pod: str) -> Answer:
        """Run a plugin for a pod's namespace (which may be gone), and hear it to its end, or the end of patience."""
        env = {"NSLAB": f"{self._ns} cni", "PATH": self._path(), "LC_ALL": "C.UTF-8", **order.env}
        if not path(pod).exists():
            env["CNI_NETNS"] = ""
        said = tuple(os.memfd_create(name) for name in ("stdin", "stdout", "stderr", "trouble"))
        try:
            os.pwrite(said[0], order.stdin.encode(), 0)
            pid = self._inside(pod, lambda: _become(order.program, env, said))
            failed, status = _ended(pid, heed=order.command == "ADD")
            texts = [os.pread(descriptor, LARGEST, 0).decode("utf-8", "replace") for descriptor in said[1:]]
            return Answer(status, texts[0], texts[1], failed or texts[2])
        finally:
            for descriptor in said:
                os.close(descriptor)

    def forget(self, pod: str) -> None:
        """Take the name of a pod's namespace away from the node, or that would keep it alive."""
        if self._process():
            _ended(self._inside("", lambda: _unbind(f"{NAMES}/{pod}")))

    def _inside(self, pod: str, then: Callable[[], Never]) -> int:
        """Fork a process in the node, where `pod`'s namespace has its name, which goes on with `then`; its number."""
        opened = [os.open(path(self._ns), os.O_RDONLY | os.O_CLOEXEC)]
        try:
            process = self._process()
            mounts = f"/proc/{process}/ns/mnt"
            opened.append(os.open(mounts, os.O_RDONLY | os.O_CLOEXEC) if process else syscall.open_tree(self._run))
            if process:
                opened.append(os.open(f"/proc/{process}/ns/uts", os.O_RDONLY | os.O_CLOEXEC))
            named = os.open(path(pod), os.O_RDONLY | os.O_CLOEXEC) if pod and path(pod).exists() else -1
            opened += [named] if named >= 0 else []
            pid = os.fork()
            if pid == 0:
                try:
                    syscall.setns(opened[0], syscall.CLONE_NEWNET)
                    if process:
                        syscall.setns(opened[1], syscall.CLONE_NEWNS)
                        syscall.setns(opened[2], syscall.CLONE_NEWUTS)
                    else:
                        _own_mounts(opened[1], self._run)
                    _own_state(f"{self._folder}/var-lib")
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

    def _process(self) -> int:
        """The node's process; 0 if it is dead."""
        if not self._pid or not os.path.exists(f"/proc/{self._pid}"):
            mine = (record for record in owned.processes(lab_of(self._ns)) if record.ns == self._ns)
            found = (record.pid for record in mine if record.role == NodeAgent.role and record.state not in "ZX")
            self._pid = next(found, 0)
        return self._pid

    def _path(self) -> str:
        """Where plugins find programs. An iptables whose rules this kernel does not take is none."""
        if self._iptables == "iptables":
            return _SYSTEM_PATH
        folder = f"{self._folder}/bin"
        os.makedirs(folder, exist_ok=True)
        program = os.path.realpath(shutil.which(self._iptables, path=_SYSTEM_PATH) or self._iptables)
        for name in _TOOLS:
            with contextlib.suppress(FileExistsError):
                os.symlink(program, f"{folder}/{name}")  # one program, which goes by the name that it is called by
        return f"{folder}:{_SYSTEM_PATH}"


def _own_mounts(run: int, where: str) -> None:
    """What a node's process has, too: a /run with the lab's folder alone."""
    syscall.unshare(syscall.CLONE_NEWNS)
    syscall.mount("none", "/", flags=syscall.MS_REC | syscall.MS_PRIVATE)
    syscall.mount("tmpfs", "/run", "tmpfs", syscall.MS_NOSUID | syscall.MS_NODEV, "mode=755")
    os.makedirs(where)
    syscall.move_mount(run, where)


def _own_state(folder: str) -> None:
    """The machine's /var/lib, where what is written goes into the lab's folder."""
    if os.path.exists(_FURNISHED):
        return
    for part in ("upper", "work"):
        os.makedirs(f"{folder}/{part}", exist_ok=True)
    try:
        layers = f"lowerdir={STATE},upperdir={folder}/upper,workdir={folder}/work"
        syscall.mount("overlay", STATE, "overlay", 0, layers)
    except OSError:  # this kernel has no overlay, or not over this file system
        syscall.mount(f"{folder}/upper", STATE, flags=syscall.MS_BIND)
    os.close(os.open(_FURNISHED, os.O_CREAT | os.O_WRONLY, 0o600))


def _bind(namespace: int, name: str) -> None:
    """Give a namespace its name in here. It is one of few things that may be bound from another mount namespace."""
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


def _become(program: str, env: Mapping[str, str], said: tuple[int, ...]) -> Never:
    """Be the plugin. What keeps it from running is written into the last of `said`."""
    try:
        os.chdir("/")
        os.setsid()
        for number, descriptor in enumerate(said[:3]):
            os.dup2(descriptor, number)
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.execve(program, [program], dict(env))
    except OSError as error:
        os.write(said[3], f"cannot be run: {program}: {error.strerror}".encode())
    os._exit(126)


def _ended(pid: int, *, heed: bool = False) -> tuple[str, int]:
    """Why a process was not let run to its end, or ""; and its status, as subprocess has it.

    With `heed`, a signal to us ends the wait, and the process; without, it waits: who cleans up is not to be stopped.
    """
    descriptor = os.pidfd_open(pid)
    failed, over = f"did not end within {SECONDS:g} s and was killed", False
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        with stop.heeded() if heed else contextlib.nullcontext():
            over = bool(poll.poll(SECONDS * 1000))
    finally:
        os.close(descriptor)
        if not over:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return "" if over else failed, status
