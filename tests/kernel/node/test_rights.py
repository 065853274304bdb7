"""What is left to a process that dropped its rights, asked of the kernel; each test asks in a child of its own."""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from children import of_child

from nslab import syscall
from nslab.components.kubelet import rights
from nslab.components.kubelet.rights import Rights, drop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.root
NOTHING = "0" * 16
DEFAULT = "00000000a80425fb"
"""What `docker run` and containerd leave a container that is not privileged."""
NET_RAW, CHOWN = 1 << 13, 1 << 0


def status() -> dict[str, str]:
    """What the kernel says of this process."""
    return dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines())


def after(ready: Rights, call: Callable[[], Any]) -> Any:
    """What a call returns in a child that dropped its rights."""
    return of_child(lambda: (syscall.prctl(syscall.PR_SET_PDEATHSIG, signal.SIGKILL), ready.drop(), call())[2])


def refused(call: Callable[[], object]) -> str:
    """How the kernel refuses something."""
    try:
        call()
    except OSError as error:
        return str(error.strerror)
    return "done"


def test_root_keeps_what_runtimes_leave() -> None:
    output = after(Rights(), status)
    assert {name: output[name] for name in ("CapPrm", "CapEff", "CapBnd")} == {
        "CapPrm": DEFAULT, "CapEff": DEFAULT, "CapBnd": DEFAULT,
    }  # fmt: skip
    assert output["CapInh"] == output["CapAmb"] == NOTHING
    assert (output["Uid"], output["Gid"], output["Groups"].strip()) == ("0\t0\t0\t0", "0\t0\t0\t0", "")
    assert (output["NoNewPrivs"], output["Umask"]) == ("1", "0022")
    assert output["Seccomp"] == ("2" if rights.FILTER else "0")


def test_a_user_has_nothing_but_groups() -> None:
    output = after(Rights(1000, 2000, (3000, 4000)), status)
    assert (output["Uid"], output["Gid"], output["Groups"].split()) == ("1000\t1000\t1000\t1000", "2000\t" * 3 + "2000",
                                                                  ["3000", "4000"])  # fmt: skip
    assert [output[name] for name in ("CapPrm", "CapEff", "CapInh", "CapAmb")] == [NOTHING] * 4
    assert output["CapBnd"] == DEFAULT


def test_capabilities_that_are_dropped_are_gone_for_good() -> None:
    def tried() -> list[str]:
        packet = socket_of_packets()
        done = subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True, check=True).stdout
        return [packet, done]

    packet, inherited = after(Rights(mask=rights.MASK & ~NET_RAW), tried)
    assert packet == "Operation not permitted"
    assert f"CapBnd:\t{rights.MASK & ~NET_RAW:016x}\n" in inherited
    assert after(Rights(mask=NET_RAW), tried)[0] == "done"
    output = after(Rights(mask=0), status)
    assert [output[name] for name in ("CapPrm", "CapEff", "CapBnd")] == [NOTHING] * 3


def socket_of_packets() -> str:
    import socket

    return refused(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close())


def test_what_root_without_capabilities_cannot_do(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    assert after(Rights(mask=0), lambda: refused(lambda: os.chown(file, 1, 1))) == "Operation not permitted"
    assert after(Rights(mask=CHOWN), lambda: refused(lambda: os.chown(file, 1, 1))) == "done"


@pytest.fixture
def setuid() -> Iterator[str]:
    """A setuid program of root's that everybody can run: it prints whom it runs as."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        program = shutil.copy("/usr/bin/id", folder)
        os.chmod(program, 0o4755)
        yield program


def test_a_setuid_program_gives_nothing_back(setuid: str) -> None:
    def tried() -> str:
        return subprocess.run([setuid, "-u"], capture_output=True, text=True, check=True).stdout

    assert of_child(lambda: (os.setresuid(1000, 1000, 1000), tried())[1]) == "0\n"
    assert after(Rights(1000, 1000), tried) == "1000\n"


def test_open_files_and_cores() -> None:
    def limits() -> list[tuple[int, int]]:
        return [resource.getrlimit(which) for which in (resource.RLIMIT_NOFILE, resource.RLIMIT_CORE)]

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    most = int(Path("/proc/sys/fs/nr_open").read_text())
    may_raise = syscall.permitted() >> 24 & 1  # SYS_RESOURCE
    allowed = 1048576 if may_raise and most >= 1048576 else min(hard, 1048576)
    assert after(Rights(), limits) == [[allowed, allowed], [1, 1]]
    assert after(Rights(nofile=77), limits) == [[77, 77], [1, 1]]
    # More than any process may have: then as many as this one may.
    assert after(Rights(nofile=most + 1), limits)[0] == [min(hard, most + 1)] * 2


def test_as_many_open_files_as_who_starts_it_may_give() -> None:
    def poor() -> Any:
        resource.setrlimit(resource.RLIMIT_NOFILE, (500, 600))
        syscall.capset(syscall.permitted() & ~(1 << 24))  # SYS_RESOURCE
        ready = Rights()
        ready.drop()
        return resource.getrlimit(resource.RLIMIT_NOFILE)

    assert of_child(poor) == [600, 600]


def test_a_limit_of_cores_that_may_not_be_raised_stays() -> None:
    def poor(limit: int) -> Any:
        resource.setrlimit(resource.RLIMIT_CORE, (limit, limit))
        syscall.capset(syscall.permitted() & ~(1 << 24))  # SYS_RESOURCE
        Rights().drop()
        return resource.getrlimit(resource.RLIMIT_CORE)

    assert [of_child(lambda limit=limit: poor(limit)) for limit in (0, 1, 2)] == [[0, 0], [1, 1], [1, 1]]  # type: ignore[misc]


def test_its_keyring_is_its_own() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    keyctl, add_key = (219, 217) if os.uname().machine == "aarch64" else (250, 248)
    session, get_id, search = -3, 0, 10

    def planted() -> int:
        key = libc.syscall(add_key, b"user", b"nslab-test", b"secret", 6, session)
        assert key > 0
        return int(key)

    def tried() -> list[int]:
        join = syscall.ready_join_session_keyring()
        assert join
        join()  # a keyring for this test, as a login would have made
        planted()
        ours, found = libc.syscall(keyctl, get_id, session, 0), libc.syscall(keyctl, search, session, b"user",
                                                                            b"nslab-test", 0)  # fmt: skip
        # Without the filter, which would refuse to look.
        ready = Rights()
        rights.FILTER = None
        ready.drop()
        return [
            found > 0,
            libc.syscall(keyctl, get_id, session, 0) != ours,
            libc.syscall(keyctl, search, session, b"user", b"nslab-test", 0),
        ]

    if libc.syscall(keyctl, get_id, session, 0) == -1:
        pytest.skip("this kernel has no keyrings")
    assert of_child(tried) == [True, True, -1]


def test_cannot_trace_what_has_more_rights() -> None:
    attach = 16
    libc = ctypes.CDLL(None, use_errno=True)

    def traced(pid: int) -> str:
        if libc.ptrace(attach, pid, 0, 0) == -1:
            return os.strerror(ctypes.get_errno())
        os.waitpid(pid, 0)
        return "done"

    victim = os.getpid()
    assert after(Rights(), lambda: traced(victim)) == "Operation not permitted"

    def own() -> str:
        child = os.fork()
        if child == 0:
            signal.pause()
        try:
            return traced(child)
        finally:
            os.kill(child, signal.SIGKILL)

    if rights.FILTER:
        assert after(Rights(), own) in ("done", "Operation not permitted")  # as the machine's Yama has it


def test_opens_no_file(tmp_path: Path) -> None:
    """A process that is shut in already, with nothing to be seen, can still drop its rights."""
    ready = Rights()

    def tried() -> dict[str, str]:
        own = os.open("/proc/self/status", os.O_RDONLY)
        os.chroot(tmp_path)
        os.chdir("/")
        ready.drop()
        return {"status": os.pread(own, 4096, 0).decode()}

    assert list(tmp_path.iterdir()) == []
    assert f"CapPrm:\t{DEFAULT}\n" in of_child(tried)["status"]


def test_a_call_drops_at_once() -> None:
    assert of_child(lambda: (drop(1234, 1234), os.getresuid())[1]) == [1234] * 3


def test_cannot_be_had_back() -> None:
    def tried() -> list[str]:
        return [
            refused(lambda: os.setresuid(0, 0, 0)),
            refused(lambda: os.setgroups([0])),
            refused(lambda: syscall.capset(1)),
            refused(lambda: os.chroot("/")),
        ]

    assert after(Rights(1000, 1000), tried) == ["Operation not permitted"] * 4


@pytest.mark.parametrize(
    "command",
    [
        "ping -c 1 -W 2 127.0.0.1", "dnsmasq --test --conf-file=/dev/null", "ip -o address", "ss -tln",
        "timeout 9 tcpdump -c 1 -n -i lo icmp & sleep 0.5; ping -c 3 -i 0.2 127.0.0.1 >/dev/null; wait $!",
        f"{sys.executable} -c 'import subprocess; subprocess.run([\"true\"], check=True)'",
    ],
    ids=lambda command: command.split()[0],
)  # fmt: skip
def test_what_works(command: str) -> None:
    ready = Rights()

    def tried() -> list[Any]:
        syscall.unshare(syscall.CLONE_NEWNET)
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        ready.drop()
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=30)
        return [done.returncode, done.stdout + done.stderr]

    code, output = of_child(tried)
    assert code == 0, output
