"""The root file system of containers: a tree of read-only copies of some of this machine's mounts.

The parts that all containers of a lab share are built once, in a mount namespace without processes, the template; a
container clones it and adds the rest.
"""

from __future__ import annotations

import os
import stat

from nslab import syscall
from nslab.components.runtime import volumes
from nslab.runtime.mounts import APPLETS, DEVICES, TERMINALS, tmpfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nslab.components.runtime.volumes import Mount

WRITABLE = ("tmp", "run", "var")
"""Folders in memory, each container's own."""
EMPTY = ("boot", "home", "media", "mnt", "opt", "root", "srv")
"""Empty folders that programs expect."""
PROGRAMS = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32")
"""The machine's folders of programs, read-only."""
ETC = (
    "passwd", "group", "nsswitch.conf", "host.conf", "gai.conf", "services", "protocols", "ld.so.cache", "ld.so.conf",
    "ld.so.conf.d", "alternatives", "ssl/certs", "localtime", "iproute2", "terminfo",
)  # fmt: skip
"""The files of the machine's /etc in a container, if they are world-readable."""
FILES = ("resolv.conf", "hosts", "hostname")
"""The pod's files in /etc."""
ACCOUNT, NAMESPACE = "/var/run/secrets/kubernetes.io/serviceaccount", "namespace"
PODS = "/sys"
"""The mount point of the pods' folders in the template: /sys, since each container mounts its own sysfs over it."""
MASKED = (
    *("proc/acpi", "proc/asound", "proc/bus", "proc/config.gz", "proc/interrupts", "proc/kallsyms", "proc/kcore"),
    *("proc/key-users", "proc/keys", "proc/latency_stats", "proc/sched_debug", "proc/scsi", "proc/timer_list"),
    *("proc/timer_stats", "sys/devices/virtual/powercap", "sys/firmware"),
)
"""Masked paths: the OCI runtime specification's list, and others that reveal the machine."""
STORAGE = 64 << 20
"""Default size in bytes of each of a container's file systems in memory."""

BUSYBOX = "/bin/busybox"
REPLACED = ("nc", "nslookup", "wget")
"""Applets that the machine's own programs replace, because Debian's cannot do what manifests use.

nc lacks -z, wget crashes with -T, and nslookup fails unless the name exists in all search domains.
"""
LEAST_PIDS = 512
"""The kernel accepts no kernel.pid_max below 301, or below eight times the number of processors."""

_BUILD = "/dev"  # the folder in which the template is built: every machine has it
_LARGEST = 4 << 20
_LINKS = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
)
_SEALED = syscall.MOUNT_ATTR_RDONLY | syscall.MOUNT_ATTR_NOSUID | syscall.MOUNT_ATTR_NODEV
_HARD = syscall.MS_NOSUID | syscall.MS_NODEV | syscall.MS_NOEXEC


class Template:
    """The mount namespace that containers clone (`descriptor`), and the masked paths."""

    def __init__(self, pods: int) -> None:
        """`pods`: the lab's folder of pods' files, as a detached mount."""
        self._masked = [(f"/{path}", os.path.isdir(f"/{path}")) for path in MASKED if os.path.exists(f"/{path}")]
        home = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        mask = os.umask(0)
        syscall.unshare(syscall.CLONE_NEWNS)
        try:
            self.descriptor = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
            _build(pods)
        finally:
            syscall.setns(home, syscall.CLONE_NEWNS)
            os.close(home)
            os.umask(mask)

    def visit(self) -> None:
        """Enter the template itself, which is read-only: for pause processes."""
        syscall.setns(self.descriptor, syscall.CLONE_NEWNS)

    def enter(
        self, host: str, storage: int = 0, read_only: bool = False, pids: int = 0, mounts: Sequence[Mount] = ()
    ) -> None:
        """Give this process, already in its network and pid namespaces, the file system of a pod's container.

        `host`: the pod's; `storage`: bytes of each file system in memory; `read_only`: only /dev/shm is writable.
        `pids`: the limit of processes in its pid namespace, if it applies here and the kernel supports it.
        `mounts`: its volume mounts; `descriptor` is then the mount namespace that has the pod's volumes.
        """
        syscall.setns(self.descriptor, syscall.CLONE_NEWNS)
        syscall.unshare(syscall.CLONE_NEWNS)
        trees = volumes.take(mounts) if mounts else []
        made = volumes.widen(trees)
        size = str(storage or STORAGE)
        for name in () if read_only else WRITABLE:
            tmpfs(f"/{name}", "1777" if name == "tmp" else "755", size=size)
        if os.path.isdir(f"{PODS}/{host}"):
            for name in FILES:
                # Read-only, like the mount that it is bound from.
                syscall.mount(f"{PODS}/{host}/{name}", f"/etc/{name}", flags=syscall.MS_BIND)
            if not read_only:
                _service_account(f"{PODS}/{host}/{NAMESPACE}")
        # New mounts: /proc shows the pid namespace, and /sys the network namespace, of the process that mounts it.
        _proc(pids)
        syscall.mount("sysfs", "/sys", "sysfs", _HARD | syscall.MS_RDONLY)
        for path, is_folder in self._masked:
            syscall.mount(f"/{EMPTY[0]}" if is_folder else "/dev/null", path, flags=syscall.MS_BIND)
        tmpfs("/dev/shm", "1777", _HARD, size)
        syscall.mount("devpts", "/dev/pts", "devpts", syscall.MS_NOSUID | syscall.MS_NOEXEC, TERMINALS)
        volumes.place(trees, made)


def _service_account(namespace: str) -> None:
    """Mount the file with the pod's namespace where the service account is, which init containers read."""
    mask = os.umask(0o022)
    os.makedirs(ACCOUNT)
    _write(f"{ACCOUNT}/{NAMESPACE}", b"")
    os.umask(mask)
    syscall.mount(namespace, f"{ACCOUNT}/{NAMESPACE}", flags=syscall.MS_BIND)


def _proc(pids: int) -> None:
    if pids and namespaces_bound_pids():
        syscall.mount("proc", "/proc", "proc", _HARD)
        with open("/proc/sys/kernel/pid_max", "w", encoding="ascii") as file:
            file.write(str(max(pids, LEAST_PIDS)))
        syscall.mount_setattr("/proc", syscall.MOUNT_ATTR_RDONLY)
    else:
        syscall.mount("proc", "/proc", "proc", _HARD | syscall.MS_RDONLY)


def namespaces_bound_pids() -> bool:
    """Whether each pid namespace has its own kernel.pid_max. (Before Linux 6.14 it is global.)"""
    major, minor, *_ = os.uname().release.split("-")[0].split(".")
    return (int(major), int(minor)) >= (6, 14)


def _build(pods: int) -> None:
    """Build the tree from the mounts of this mount namespace, and make it the only one left there."""
    trees = {name: syscall.open_tree(f"/{name}", recursive=True) for name in PROGRAMS if _is_real(f"/{name}")}
    links = {name: os.readlink(f"/{name}") for name in PROGRAMS if os.path.islink(f"/{name}")}
    etc, applets = [*_etc()], _applets()
    tmpfs(_BUILD, flags=syscall.MS_NOSUID, size="16m")
    os.chdir(_BUILD)
    for name, tree in trees.items():
        _hang(tree, name)
    for name, target in links.items():
        os.symlink(target, name)
    for name in (*EMPTY, *WRITABLE, "proc", "sys", "etc", "dev"):
        os.mkdir(name)
        os.chmod(name, 0o1777 if name == "tmp" else 0o755)
    os.makedirs(APPLETS[1:])
    for name in applets:
        os.symlink(BUSYBOX, f"{APPLETS[1:]}/{name}")
    _devices()
    for name, what in etc:
        os.makedirs(os.path.dirname(f"etc/{name}"), 0o755, exist_ok=True)
        if isinstance(what, int):
            _hang(what, f"etc/{name}")
        elif isinstance(what, str):
            os.symlink(what, f"etc/{name}")
        else:
            _write(f"etc/{name}", what)
    for name in FILES:
        _write(f"etc/{name}", b"")
    syscall.seal(pods, _SEALED | syscall.MOUNT_ATTR_NOEXEC)
    syscall.move_mount(pods, "sys")
    os.close(pods)
    syscall.pivot_root(".", ".")
    syscall.umount(".")
    os.chdir("/")
    # A container has CAP_MKNOD and must not create the machine's disk device: file systems with devices are read-only.
    syscall.mount_setattr("/", syscall.MOUNT_ATTR_RDONLY | syscall.MOUNT_ATTR_NOSUID)


def _applets() -> list[str]:
    """Return the names of busybox's applets, without those that the machine's own programs replace."""
    if not os.access(BUSYBOX, os.X_OK):
        return []
    read, write = os.pipe()
    os.posix_spawn(BUSYBOX, ["busybox", "--list"], {}, file_actions=[(os.POSIX_SPAWN_DUP2, write, 1)])
    os.close(write)
    with open(read, encoding="utf-8") as output:
        names = output.read().split()
    return [
        name for name in names if "/" not in name and not (name in REPLACED and os.access(f"/usr/bin/{name}", os.X_OK))
    ]


def _is_real(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)


def _hang(tree: int, name: str) -> None:
    """Attach a detached mount, with its submounts, read-only."""
    syscall.seal(tree, _SEALED)
    os.makedirs(name, 0o755, exist_ok=True)
    syscall.move_mount(tree, name)
    os.close(tree)


def _write(path: str, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    os.write(descriptor, data)
    os.close(descriptor)


def _etc() -> Iterator[tuple[str, bytes | str | int]]:
    """Yield the entries of a container's /etc: bytes of a file, the target of a symlink, or a folder's detached mount.

    If a folder has an entry that is not world-readable (a private key among certificates), yields only the others.
    """
    for name in ETC:
        path = f"/etc/{name}"
        if os.path.islink(path) and os.path.realpath(path).startswith("/usr/"):
            yield name, os.path.realpath(path)
        elif _is_real(path) and _all_open(path):
            yield name, syscall.open_tree(path)
        elif _is_real(path):
            yield from ((f"{name}/{entry}", data) for entry, data in _open_files(path))
        elif (data := _readable(path)) is not None:
            yield name, data


def _all_open(folder: str) -> bool:
    """Whether a folder and all its contents are world-readable."""
    if os.stat(folder).st_mode & 0o005 != 0o005:
        return False
    with os.scandir(folder) as entries:
        return all(
            entry.is_symlink()
            or (_all_open(entry.path) if entry.is_dir() else bool(entry.stat(follow_symlinks=False).st_mode & 0o004))
            for entry in entries
        )


def _open_files(folder: str) -> Iterator[tuple[str, bytes | str]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink():
                yield entry.name, os.readlink(entry.path)
            elif (data := _readable(entry.path)) is not None:
                yield entry.name, data


def _readable(path: str) -> bytes | None:
    """The contents of a world-readable regular file; None without one."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        fits = stat.S_ISREG(status.st_mode) and status.st_mode & 0o004 and status.st_size <= _LARGEST
        return file.read() if fits else None


def _devices() -> None:
    for name, major, minor in DEVICES:
        os.mknod(f"dev/{name}", stat.S_IFCHR | 0o666, os.makedev(major, minor))
    for name, to in _LINKS:
        os.symlink(to, f"dev/{name}")
    for name in ("shm", "pts"):
        os.mkdir(f"dev/{name}", 0o755)
