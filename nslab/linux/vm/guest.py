"""The init process of the kernel that `nslab vm` boots: mounts a root for the command, runs it, powers off.

    python3 -I -S guest.py FOLDER     FOLDER has the Task, and gets the log and the status

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
"""The files in the shared folder."""
READY = b"\x06"
"""The first byte on console 1: its terminal is set up and accepts input (earlier input would be echoed, or lost)."""

OWN = ("/run", "/tmp", "/var/tmp", "/var/log", "/dev/shm")
"""Folders of this kernel's own instead of the machine's: in memory, empty, writable."""

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
"""Loaded at boot, so that nslab finds these drivers; modprobe skips those that do not exist."""

_LINUX_REBOOT_CMD_POWER_OFF = 0x4321FEDC


@dataclass(frozen=True)
class Task:
    """The command to run, and its environment."""

    command: tuple[str, ...]
    cwd: str
    environment: dict[str, str]
    visible: tuple[str, ...]
    """Folders that must be visible as they are outside, even where one of OWN covers them."""
    modules: str
    """The folder of this kernel's drivers."""
    window: tuple[int, int] | None
    """Columns and lines of the terminal; None without one."""


def main() -> None:
    """Run the task, write its exit status, and power off."""
    meeting = sys.argv[1]
    task = Task(**json.loads(Path(meeting, TASK).read_text()))
    try:
        root(task, meeting)
        drivers(task.modules)
        status = at_terminal(task) if task.window else through_pipes(task)
    except Exception as error:  # whatever it is, report it outside and power off
        Path("/dev/tty2").write_text(f"nslab vm: {type(error).__name__}: {error}\n")
        status = 4
    os.sync()
    Path(meeting, STATUS).write_text(str(status))
    os.sync()
    ctypes.CDLL(None).reboot(_LINUX_REBOOT_CMD_POWER_OFF)


def root(task: Task, meeting: str) -> None:
    """Mount the machine's root read-only, this kernel's own folders on top, and the working folder writable."""
    mount("proc", "/proc", "proc")
    mount("sysfs", "/sys", "sysfs")
    with suppress(OSError):  # the kernel may have mounted it
        mount("devtmpfs", "/dev", "devtmpfs")
    covered = f"{task.cwd}/".startswith(tuple(f"{path}/" for path in OWN))
    if not covered and task.cwd != "/":
        hostfs(task.cwd)
    # Links that an init system adds to devtmpfs.
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
    """Mount the machine's folder `path` at `path`."""
    Path(path).mkdir(parents=True, exist_ok=True)
    mount("none", path, "hostfs", flags, path)


def legacy_iptables(alternatives: Path) -> None:
    """Make `iptables` the legacy variant: this kernel has no nat chains for nftables."""
    if not Path("/usr/sbin/iptables-legacy").exists() or not alternatives.is_dir():
        return
    links = {link.name: os.readlink(link) for link in alternatives.iterdir() if link.is_symlink()}
    mount("tmpfs", str(alternatives), "tmpfs")
    for name, target in links.items():
        family, dash, verb = name.partition("-")
        legacy = f"/usr/sbin/{family}-legacy{dash}{verb}"
        (alternatives / name).symlink_to(legacy if family in ("iptables", "ip6tables") else target)


def drivers(folder: str) -> None:
    """Load the drivers from the package's folder: /lib/modules cannot be created on a read-only root."""
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
    """Run the command on the terminal, with its size, keys and signals."""
    assert task.window
    columns, lines = task.window
    terminal = os.open("/dev/tty1", os.O_RDWR | os.O_NOCTTY)
    ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    write(terminal, READY)
    command = CommandProcess(task, (terminal, terminal, terminal))
    select.select([command.end], [], [])
    # The end of its session leader hung the terminal up, so this descriptor is dead: open it again.
    termios.tcdrain(os.open("/dev/tty1", os.O_RDWR | os.O_NOCTTY))
    return command.status


def through_pipes(task: Task) -> int:
    """Run the command on pipes instead of a terminal: it writes no colours, and its input has an end."""
    terminals = [os.open(f"/dev/tty{number}", os.O_RDWR | os.O_NOCTTY) for number in (1, 2)]
    for terminal in terminals:
        transparent(terminal)
    write(terminals[0], READY)
    (inputs, to_input), (from_output, outputs), (from_error, errors) = (os.pipe() for _ in range(3))
    command = CommandProcess(task, (inputs, outputs, errors))
    for fd in (inputs, outputs, errors):
        os.close(fd)
    threading.Thread(target=feed, args=(terminals[0], to_input), daemon=True).start()
    targets = dict(zip((from_output, from_error), terminals, strict=True))
    ready: list[int] = []
    # Processes that the command left running may hold its output open: after its end, read only what is there.
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
    """Raw output, but input by lines, since only line mode knows an end of input (^D)."""
    tty.setraw(terminal)
    modes = termios.tcgetattr(terminal)
    modes[tty.LFLAG] |= termios.ICANON
    termios.tcsetattr(terminal, termios.TCSANOW, modes)


def feed(terminal: int, target: int) -> None:
    """Decode lines of base64 into the command's input."""
    with suppress(BrokenPipeError):
        while line := os.read(terminal, 4096):
            write(target, b64decode(line))
    os.close(target)


def write(target: int, data: bytes) -> None:
    """Write all bytes."""
    view = memoryview(data)
    while view:
        view = view[os.write(target, view) :]


class CommandProcess:
    """The command's process. As init, this process reaps all others, too."""

    def __init__(self, task: Task, streams: tuple[int, int, int]) -> None:
        self.status = 0
        self._pid = os.fork()
        if self._pid == 0:
            become(task, streams)
        self.end = os.pidfd_open(self._pid)
        signal.signal(signal.SIGCHLD, self._reap)
        self._reap()

    def _reap(self, *_: object) -> None:
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == self._pid:
                    status = os.waitstatus_to_exitcode(ended[1])
                    self.status = status if status >= 0 else 128 - status


def become(task: Task, streams: tuple[int, int, int]) -> NoReturn:
    """Execute the command in this process, in a session of its own."""
    os.setsid()
    for fd, stream in enumerate(streams):
        os.dup2(stream, fd)
    if task.window:
        ioctl(0, termios.TIOCSCTTY, 0)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and exec would keep that
        signal.signal(number, signal.SIG_DFL)
    try:
        os.chdir(task.cwd)
        os.execvpe(task.command[0], task.command, task.environment)
    except OSError as error:
        write(2, f"{task.command[0]}: {error.strerror}\n".encode())
        os._exit(127 if isinstance(error, FileNotFoundError) else 126)


if __name__ == "__main__":
    main()
