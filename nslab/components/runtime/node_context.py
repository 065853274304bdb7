"""The namespaces of a node's process, and visits to others."""

from __future__ import annotations

import contextlib
import os

from nslab import rundir, syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.components.runtime.rootfs import Template
    from nslab.runtime.cgroups import Groups

NET, UTS, IPC, PID, MNT = (
    syscall.CLONE_NEWNET,
    syscall.CLONE_NEWUTS,
    syscall.CLONE_NEWIPC,
    syscall.CLONE_NEWPID,
    syscall.CLONE_NEWNS,
)
_FILES = {NET: "net", UTS: "uts", IPC: "ipc", PID: "pid", MNT: "mnt"}


class NodeContext:
    """The context of a node: its name, its namespace's name, and the lab's folder.

    `ns_dir` and `run_fd` are descriptors: of the folder of named namespaces, and of a detached mount of `run`.
    `template` is the source of containers' file systems; `groups` limits their resources.
    """

    def __init__(self, ns: str, run: str, ns_dir: int, run_fd: int, template: Template, groups: Groups) -> None:
        self.ns, self.run, self.ns_dir, self.run_fd = ns, run, ns_dir, run_fd
        self.template, self.groups = template, groups
        self.node = host_of(ns)
        self.folder = f"{run}/{rundir.node(self.node)}"
        self._home: dict[int, int] = {}

    def remember_home(self) -> None:
        """Remember the current namespaces as home."""
        self._home = {kind: os.open(f"/proc/self/ns/{file}", os.O_RDONLY) for kind, file in _FILES.items()}

    def enter(self, name: str) -> None:
        """Enter a named network namespace of the lab."""
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.ns_dir)
        try:
            syscall.setns(descriptor, NET)
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def away(self, *kinds: int) -> Iterator[None]:
        """Return home from namespaces of these kinds, whatever happens.

        `unshare` and `setns` with PID affect only future children, never the calling process.
        """
        try:
            yield
        finally:
            self.come_home(*kinds)

    def come_home(self, *kinds: int) -> None:
        """Enter the remembered namespaces of these kinds."""
        for kind in kinds:
            syscall.setns(self._home[kind], kind)


def host_of(ns: str) -> str:
    """The host of a namespace: `node1` of `nslab.lab.node1`."""
    return ns.split(".", 2)[2]


def remove_tree(folder: str) -> None:
    """Remove a folder with its contents, if it exists (shutil would import half the library)."""
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(folder):
            if entry.is_dir(follow_symlinks=False):
                remove_tree(entry.path)
            else:
                os.unlink(entry.path)
        os.rmdir(folder)
