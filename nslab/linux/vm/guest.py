"""The first process of the kernel that `nslab vm` boots: makes the root that a command expects, runs it, switches off.

    python3 -I -S vm_guest.py FOLDER     where FOLDER has the Task, and takes the log and the status

Standard library only: it runs without site-packages.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import tty
from base64 import b64decode
from contextlib import suppress
from dataclasses import dataclass
from fcntl import ioctl
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).parents[3]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from nslab.syscall import MS_RDONLY, mount  # noqa: E402 (found only now)

TASK, STATUS = "task", "status"
"""The files in the folder where inside and outside meet."""
READY = b"\x06"
"""The first byte on console 1: its terminal is set up, input may come (what came before would be echoed, or lost)."""

OWN = ("/run", "/tmp", "/var/tmp", "/var/log", "/dev/shm")
"""What is this kernel's own instead of the machine's: in memory, empty, writable."""

MODULES = (
    *("ipip", "vxlan", "veth", "bridge", "br_netfilter", "dummy", "tun", "ipv6"),
    *("ip_vs", "ip_vs_rr", "ip_vs_wrr", "ip_vs_lc", "ip_vs_sh", "ip_vs_mh", "xt_ipvs"),
    *("sch_netem", "sch_tbf", "sch_ingress", "cls_u32"),
    *("ip_tables", "iptable_filter", "iptable_nat", "iptable_mangle", "iptable_raw"),
    *("ip_set", "ip_set_hash_ip", "ip_set_hash_net", "ip_set_hash_ipport", "ip_set_hash_ipportip"),
    *("ip_set_hash_ipportnet", "ip_set_bitmap_port", "ip_set_list_set"),
    *("xt_set", "xt_comment", "xt_mark", "xt_conntrack", "xt_addrtype", "xt_statistic", "xt_recent", "xt_nat"),
    *("xt_MASQUERADE", "xt_REDIRECT", "xt_tcpudp", "xt_multiport", "xt_physdev", "ipt_REJECT", "xt_LOG", "xt_NFLOG"),
    *("nf_conntrack", "nf_conntrack_netlink", "nf_log_syslog", "nfnetlink_log"),
    *("nf_tables", "nft_compat", "nft_ct", "nft_masq", "nft_redir", "nft_reject", "nft_limit", "nft_log", "nft_numgen"),
    *("af_packet_diag", "tcp_diag", "udp_diag", "unix_diag"),
)
"""Loaded at the start, so that who asks whether a driver is there sees it; those that do not exist are passed over."""

_LINUX_REBOOT_CMD_POWER_OFF = 0x4321FEDC


@dataclass(frozen=True)
class Task:
    """What to run, and what it must find."""

    command: tuple[str, ...]
    cwd: str
    environment: dict[str, str]
    visible: tuple[str, ...]
    """Folders that must be seen as they are outside, even where one of OWN covers them."""
    modules: str
    """The folder of this kernel's drivers."""
    window: tuple[int, int] | None
    """Columns and lines of the terminal, if a person sits at it."""


def main() -> None:
    """The life of this kernel."""
    meeting = sys.argv[1]
    task = Task(**json.loads(Path(meeting, TASK).read_text()))
    try:
        root(task, meeting)
        drivers(task.modules)
        status = at_terminal(task) if task.window else through_pipes(task)
    except Exception as error:  # whatever it is, it is told outside, and this kernel ends
        Path("/dev/tty2").write_text(f"nslab vm: {type(error).__name__}: {error}\n")
        status = 4
    os.sync()
    Path(meeting, STATUS).write_text(str(status))
    os.sync()
    ctypes.CDLL(None).reboot(_LINUX_REBOOT_CMD_POWER_OFF)


def root(task: Task, meeting: str) -> None:
    """The machine's root, read-only, with what must be this kernel's own on top, and the working folder writable."""
    mount("proc", "/proc", "proc")
    mount("sysfs", "/sys", "sysfs")
    with suppress(OSError):  # the kernel may have mounted it
        mount("devtmpfs", "/dev", "devtmpfs")
    covered = f"{task.cwd}/".startswith(tuple(f"{path}/" for path in OWN))
    if not covered and task.cwd != "/":
        hostfs(task.cwd)
    # What an init system adds to devtmpfs.
    for name, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
        Path("/dev", name).symlink_to(f"/proc/self/fd{target}")
    Path("/dev/shm").mkdir()
    for path in OWN:
        if Path(path).is_dir() and not Path(path).is_symlink():
            mount("tmpfs", path, "tmpfs", data="mode=755" if path == "/run" else "mode=1777")
    for path in task.visible:
        if not Path(path).exists():
            hostfs(path, MS_RDONLY)
    if covered:
        hostfs(task.cwd)
    hostfs(meeting)
    Path("/dev/pts").mkdir(exist_ok=True)
    mount("devpts", "/dev/pts", "devpts", data="mode=620,ptmxmode=666")
    with suppress(OSError):
        mount("cgroup2", "/sys/fs/cgroup", "cgroup2")
    Path("/run/lock").mkdir()
    legacy_iptables(Path("/etc/alternatives"))
    Path("/proc/sys/kernel/hostname").write_text("nslab-vm")


def hostfs(path: str, flags: int = 0) -> None:
    """Show the machine's own folder `path` at `path`."""
    Path(path).mkdir(parents=True, exist_ok=True)
    mount("none", path, "hostfs", flags, path)


def legacy_iptables(alternatives: Path) -> None:
    """This kernel has no nat chains for nftables, so `iptables` must be the variant that does without them."""
    if not Path("/usr/sbin/iptables-legacy").exists() or not alternatives.is_dir():
        return
    links = {link.name: os.readlink(link) for link in alternatives.iterdir() if link.is_symlink()}
    mount("tmpfs", str(alternatives), "tmpfs")
    for name, target in links.items():
        family, dash, verb = name.partition("-")
        legacy = f"/usr/sbin/{family}-legacy{dash}{verb}"
        (alternatives / name).symlink_to(legacy if family in ("iptables", "ip6tables") else target)


def drivers(folder: str) -> None:
    """Load them from where the package has them: /lib/modules cannot be made on a read-only root."""
    tree = Path("/run/nslab-vm")
    modules = tree / "lib/modules" / os.uname().release
    modules.parent.mkdir(parents=True)
    environment = {**os.environ, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    if Path(folder, "modules.dep.bin").exists():
        modules.symlink_to(folder)
    else:
        modules.mkdir()
        (modules / "kernel").symlink_to(f"{folder}/kernel")
        subprocess.run(["depmod", "-b", tree, os.uname().release], env=environment, check=True)
    modprobe = tree / "modprobe"
    modprobe.write_text(f'#!/bin/sh\nexec /sbin/modprobe -d {tree} "$@"\n')
    modprobe.chmod(0o755)
    Path("/proc/sys/kernel/modprobe").write_text(str(modprobe))
    subprocess.run([modprobe, "-a", "-q", *MODULES], env=environment, check=False)


def at_terminal(task: Task) -> int:
    """The command is the terminal's: it has its size, its keys and its signals."""
    assert task.window
    columns, lines = task.window
    terminal = os.open("/dev/tty1", os.O_RDWR | os.O_NOCTTY)
    ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    write(terminal, READY)
    command = Command(task, (terminal, terminal, terminal))
    select.select([command.end], [], [])
    # With the leader of its session the terminal was hung up: this one is as good as closed.
    termios.tcdrain(os.open("/dev/tty1", os.O_RDWR | os.O_NOCTTY))
    return command.status


def through_pipes(task: Task) -> int:
    """The command sees pipes, not a terminal: it writes no colours, and its input has an end."""
    terminals = [os.open(f"/dev/tty{number}", os.O_RDWR | os.O_NOCTTY) for number in (1, 2)]
    for terminal in terminals:
        transparent(terminal)
    write(terminals[0], READY)
    (inputs, to_input), (from_output, outputs), (from_error, errors) = (os.pipe() for _ in range(3))
    command = Command(task, (inputs, outputs, errors))
    for fd in (inputs, outputs, errors):
        os.close(fd)
    threading.Thread(target=feed, args=(terminals[0], to_input), daemon=True).start()
    targets = dict(zip((from_output, from_error), terminals, strict=True))
    ready: list[int] = []
    # What the command left running may hold its output open: after its end, only what is there already is taken.
    while command.end not in ready or len(ready) > 1:
        ready = select.select([command.end, *targets], [], [])[0]
        for fd in targets.keys() & set(ready):
            data = os.read(fd, 1 << 16)
            write(targets[fd], data)
            if not data:
                del targets[fd]
    for terminal in terminals:
        termios.tcdrain(terminal)
    return command.status


def transparent(terminal: int) -> None:
    """Every byte goes out as it is; input comes in lines, since only then can it end (^D)."""
    tty.setraw(terminal)
    modes = termios.tcgetattr(terminal)
    modes[tty.LFLAG] |= termios.ICANON
    termios.tcsetattr(terminal, termios.TCSANOW, modes)


def feed(terminal: int, target: int) -> None:
    """The command's input, out of lines of base64."""
    with suppress(BrokenPipeError):
        while line := os.read(terminal, 4096):
            write(target, b64decode(line))
    os.close(target)


def write(target: int, data: bytes) -> None:
    """All of it."""
    view = memoryview(data)
    while view:
        view = view[os.write(target, view) :]


class Command:
    """The one process that this kernel is for; the others that end here are only buried."""

    def __init__(self, task: Task, streams: tuple[int, int, int]) -> None:
        self.status = 0
        self._pid = os.fork()
        if self._pid == 0:
            become(task, streams)
        self.end = os.pidfd_open(self._pid)
        signal.signal(signal.SIGCHLD, self._bury)
        self._bury()

    def _bury(self, *_: object) -> None:
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == self._pid:
                    status = os.waitstatus_to_exitcode(ended[1])
                    self.status = status if status >= 0 else 128 - status


def become(task: Task, streams: tuple[int, int, int]) -> NoReturn:
    """Turn this process into the command, in a session of its own."""
    os.setsid()
    for fd, stream in enumerate(streams):
        os.dup2(stream, fd)
    if task.window:
        ioctl(0, termios.TIOCSCTTY, 0)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, its children should not
        signal.signal(number, signal.SIG_DFL)
    try:
        os.chdir(task.cwd)
        os.execvpe(task.command[0], task.command, task.environment)
    except OSError as error:
        write(2, f"{task.command[0]}: {error.strerror}\n".encode())
        os._exit(127 if isinstance(error, FileNotFoundError) else 126)


if __name__ == "__main__":
    main()
