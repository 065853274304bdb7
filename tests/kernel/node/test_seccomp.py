"""The filter of system calls on this kernel: what it refuses a process that is root otherwise, and what works."""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import signal
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from children import attempt, forked, of_child

from nslab import syscall
from nslab.components.kubelet import seccomp

if TYPE_CHECKING:
    from collections.abc import Callable

MACHINE = platform.machine()
PREPARED = seccomp.load()
NUMBERS = {
    "add_key": (248, 217), "bpf": (321, 280), "delete_module": (176, 106), "fanotify_init": (300, 262),
    "finit_module": (313, 273), "fsopen": (430, 430), "get_mempolicy": (239, 236), "init_module": (175, 105),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "io_uring_setup": (425, 425), "kcmp": (312, 272),
    "kexec_load": (246, 104), "keyctl": (250, 219), "mbind": (237, 235), "mount": (165, 40),
    "mount_setattr": (442, 442), "move_mount": (429, 429), "move_pages": (279, 239), "open_by_handle_at": (304, 265),
    "open_tree": (428, 428), "perf_event_open": (298, 241), "pidfd_getfd": (438, 438), "pivot_root": (155, 41),
    "process_madvise": (440, 440), "quotactl": (179, 60), "request_key": (249, 218), "setns": (308, 268),
    "swapoff": (168, 225), "syslog": (103, 116), "umount2": (166, 39), "unshare": (272, 97),
    "userfaultfd": (323, 282), "vhangup": (153, 58),
}  # fmt: skip
"""Calls that are refused whatever is asked of them, on x86-64 and arm64. With zeros, none of them would do harm."""
CLONE, SOCKET = (56, 41) if MACHINE == "x86_64" else (220, 198)

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(PREPARED is None, reason="nslab doctor: seccomp: no filters here"),
]


def filtered(call: Callable[[], Any]) -> Any:
    """What a call returns in a child that has the filter, and a network namespace of its own."""
    return of_child(lambda: (isolate(), call())[1])


def isolate() -> None:
    """The filter, and what it wants before; a network to play in, and death with who asked."""
    assert PREPARED
    syscall.unshare(syscall.CLONE_NEWNET)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    syscall.prctl(syscall.PR_SET_PDEATHSIG, signal.SIGKILL)
    syscall.prctl(syscall.PR_SET_NO_NEW_PRIVS, 1)
    PREPARED.install()


def test_refuses_what_containerd_refuses() -> None:
    column = ("x86_64", "aarch64").index(MACHINE)
    assert filtered(lambda: {name: attempt(both[column]) for name, both in NUMBERS.items()}) == dict.fromkeys(
        NUMBERS, "EPERM"
    )


def test_gives_no_new_namespaces() -> None:
    kinds = (syscall.CLONE_NEWNS, 1 << 25, syscall.CLONE_NEWUTS, syscall.CLONE_NEWIPC, 1 << 28, syscall.CLONE_NEWPID,
             syscall.CLONE_NEWNET)  # fmt: skip
    unshare = NUMBERS["unshare"][MACHINE == "aarch64"]

    def tried() -> list[str]:
        return [*(attempt(unshare, kind) for kind in kinds), *(attempt(CLONE, kind | signal.SIGCHLD) for kind in kinds)]

    assert filtered(tried) == ["EPERM"] * 2 * len(kinds)
    # As if it were not there: libc then takes clone, whose flags can be looked at.
    assert filtered(lambda: attempt(435)) == "ENOSYS"


def test_gives_no_sockets_of_virtual_machines_or_ciphers() -> None:
    refused = (38, 40, 46, 47, 38 | 1 << 32, 40 | 1 << 32, 2 | 1 << 32)  # the kernel looks at 32 bits
    given = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK)

    def tried() -> list[str]:
        return [attempt(SOCKET, family, socket.SOCK_DGRAM) for family in (*refused, *given)]

    assert filtered(tried) == ["EPERM"] * len(refused) + ["ok"] * len(given)
    raw = [socket.AF_PACKET, socket.SOCK_RAW]
    assert filtered(lambda: attempt(SOCKET, *raw)) == "ok"


def test_what_is_newer_than_the_profile_is_not_there() -> None:
    assert filtered(lambda: [attempt(467), attempt(999), attempt(1 << 30 | 39)]) == ["ENOSYS"] * 3


def test_holds_for_what_is_started_and_cannot_be_taken_back() -> None:
    def tried() -> list[int]:
        script = "unshare --user true; unshare --mount true; mount -t tmpfs none /tmp"
        done = subprocess.run(["sh", "-c", script], capture_output=True, text=True)
        return [done.returncode, done.stderr.count("permi")]

    assert filtered(tried) == [32, 3]
    assert "Seccomp:\t2\nSeccomp_filters:\t1\n" in filtered(lambda: Path("/proc/self/status").read_text())


@pytest.mark.skipif(MACHINE != "x86_64", reason="int 0x80 is i386's way into an x86-64 kernel")
def test_a_call_of_i386_kills() -> None:
    # mov eax, 20 (getpid); int 0x80; ret
    code = b"\xb8\x14\x00\x00\x00\xcd\x80\xc3"

    def tried() -> int:
        page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        page.write(code)
        at = ctypes.addressof(ctypes.c_char.from_buffer(page))
        return int(ctypes.CFUNCTYPE(ctypes.c_int)(at)())

    status, answer = forked(lambda: tried() == os.getpid())
    if (status, answer) != (0, "true"):
        pytest.skip("this kernel runs no i386 programs")
    assert forked(lambda: (isolate(), tried())[1]) == (-signal.SIGSYS, "")


PROGRAMS = {
    "ping": "ping -c 1 -W 2 127.0.0.1",
    "tcpdump": "(while sleep 0.05; do ping -c 1 127.0.0.1; done >/dev/null) & trap 'kill $!' EXIT\n"
    "tcpdump -c 1 -n -i lo icmp",
    "curl": "python3 -m http.server -b 127.0.0.1 8123 2>/dev/null & trap 'kill $!' EXIT\n"
    "curl -sf --retry 99 --retry-delay 0 --retry-all-errors --retry-max-time 9 http://127.0.0.1:8123/ | grep -q proc",
    "dnsmasq": "dnsmasq --version && dnsmasq --test --conf-file=/dev/null",
    "ip": "ip link add t0 type veth peer name t1 && ip address add 10.9.8.7/24 dev t0 && ip route && ip -s link",
    "python3": "python3 -c 'import asyncio, subprocess, threading\n"
    'threading.Thread(target=print).start()\nasyncio.run(asyncio.sleep(0))\nsubprocess.run(["true"], check=True)\'',
    "iptables": "iptables -t nat -L -n",
    "ss": "ss -tlnp",
    "dig": "dig +time=1 +tries=1 @127.0.0.1 a.b; [ $? = 9 ]",
    "bash": "! exec 3<>/dev/tcp/127.0.0.1/9",
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_what_a_container_runs_works(program: str) -> None:
    def tried() -> list[Any]:
        os.chdir("/")
        done = subprocess.run(["bash", "-c", PROGRAMS[program]], capture_output=True, text=True, timeout=30)
        return [done.returncode, done.stdout + done.stderr]

    status, output = filtered(tried)
    assert status == 0, output
