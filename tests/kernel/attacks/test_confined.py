"""A container does with the kernel what a container may, and sees of the machine's files what it needs."""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import signal
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.kernel.attacks import intruder
from tests.kernel.attacks.attackkit import (
    MARKS,
    SHARED,
    SLEEP,
    inside,
    machines_files,
    pod,
    running,
    secret,
    together,
)
from tests.kernel.labkit import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kernel.labkit import OwnLab

pytestmark = MARKS
FOLDERS = ("root", "home", "opt", "srv", "boot", "media", "mnt", "var")
"""Folders of a machine of which a container has nothing."""
TOP = {*FOLDERS, "bin", "dev", "etc", "lib", "lib32", "lib64", "libx32", "proc", "run", "sbin", "sys", "tmp", "usr"}
SECRETS = (
    "shadow", "shadow-", "gshadow", "gshadow-", "sudoers", "sudoers.d", "ssh", "ssl/private", "machine-id", "fstab",
    "crypttab", "security", "pam.d", "cron.d", "crontab", "apt", "systemd", "docker", "kubernetes", "environment",
    "netplan", "NetworkManager", "wireguard", "krb5.keytab", "exports", "hostid", "profile", "ld.so.preload",
)  # fmt: skip
"""What a machine's /etc may have that is no container's business."""
MASKED = (
    "/proc/acpi", "/proc/asound", "/proc/bus", "/proc/config.gz", "/proc/interrupts", "/proc/kallsyms", "/proc/kcore",
    "/proc/key-users", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list",
    "/proc/timer_stats", "/sys/firmware", "/sys/devices/virtual/powercap", "/sys/fs/cgroup",
)  # fmt: skip
REFUSED = ("/proc/kmsg", "/proc/self/stack", "/dev/kmsg", "/dev/mem", "/dev/vda", "/dev/sda", "/dev/fuse")
CHARACTERS = {
    "mem": (1, 1), "kmem": (1, 2), "port": (1, 4), "kmsg": (1, 11), "tty0": (4, 0), "ttyS0": (4, 64),
    "console": (5, 1), "ptmx": (5, 2), "tun": (10, 200), "fuse": (10, 229), "loop-control": (10, 237),
    "kvm": (10, 232), "vhost-net": (10, 238), "userfaultfd": (10, 126), "uinput": (10, 223), "input": (13, 63),
    "framebuffer": (29, 0), "drm": (226, 0), "rtc": (254, 0),
}  # fmt: skip
DISKS = {"loop0": (7, 0), "sda": (8, 0), "vda": (254, 0), "nvme": (259, 0), "dm-0": (253, 0), "ram0": (1, 0)}
FAMILIES = {
    "AF_VSOCK": [40, socket.SOCK_STREAM], "AF_VSOCK datagrams": [40, socket.SOCK_DGRAM],
    "AF_ALG": [38, socket.SOCK_SEQPACKET], "AF_VSOCK beyond 32 bits": [40 | 1 << 32, socket.SOCK_STREAM],
}  # fmt: skip
UNWRITABLE = ("/proc/sys", "/sys", "/proc/irq", "/proc/fs", "/proc/bus", "/usr/bin", "/usr/local", "/etc", "/bin/")
LEASED = ("/usr/bin/gpasswd", "/usr/bin/chage", "/usr/bin/python3", "/usr/share/zoneinfo/UTC")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnLab]:
    pods = [
        pod("alone", {"app": SLEEP}),
        pod("shared", SHARED, shareProcessNamespace=True),
        pod("doomed", SHARED),
        pod("again", {"app": SLEEP}),
    ]
    with running(tmp_path_factory.mktemp("lab"), *pods) as made:
        yield made


@pytest.fixture(scope="module")
def marker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return secret(tmp_path_factory.mktemp("machine"))


@pytest.fixture(scope="module")
def files(lab: OwnLab, marker: Path) -> dict[str, Any]:
    """What came of attacks on files."""
    nodes = {name: [stat.S_IFCHR, *numbers] for name, numbers in CHARACTERS.items()}
    nodes |= {name: [stat.S_IFBLK, *numbers] for name, numbers in DISKS.items()}
    root = os.stat("/").st_dev
    nodes["the disk of /"] = [stat.S_IFBLK, os.major(root), os.minor(root)]
    places = [*intruder.PLACES, "/", "/dev", "/dev/pts", "/etc", "/proc", "/sys"]
    markers = machines_files(marker)
    paths = [f"{root}{path}" for root in ("", "/proc/1/root", "/proc/self/root/..") for path in markers]
    programs = [os.path.realpath(path) for path in LEASED if os.path.exists(path)]
    return together(
        lab,
        "alone",
        read=(intruder.read, ["/", *(f"/{name}" for name in FOLDERS), *(f"/etc/{name}" for name in SECRETS)]),
        paths=(intruder.read, paths),
        masked=(intruder.read, [*MASKED, *REFUSED]),
        devices=(intruder.devices, nodes, places),
        chroot=(intruder.chroot_and_back, markers),
        setuid_copies=(intruder.setuid_copies,),
        setuid_programs=(intruder.setuid_programs,),
        file_capabilities=(intruder.file_capabilities,),
        leases=(intruder.leases, programs),
        writable=(intruder.writable_below, UNWRITABLE),
        sysrq=(intruder.for_writing, "/proc/sysrq-trigger"),
        sockets=(intruder.sockets,),
    )


@pytest.fixture(scope="module")
def answers(lab: OwnLab) -> dict[str, Any]:
    """What came of attacks on the kernel."""
    return together(
        lab,
        "alone",
        calls=(intruder.calls, [*intruder.CALLS]),
        new_namespaces=(intruder.new_namespaces,),
        enter_namespaces=(intruder.enter_namespaces,),
        families=(intruder.open_sockets, FAMILIES),
        other_mounts=(intruder.other_mounts,),
        terminal_tricks=(intruder.terminal_tricks,),
        network_rights=(intruder.network_rights,),
        reachable=(intruder.reachable,),
        raise_limits=(intruder.raise_limits,),
        unix_sockets=(intruder.unix_sockets,),
        command=(intruder.settings,),
        container=(intruder.settings, "1"),
    )


@pytest.fixture(scope="module")
def shared(lab: OwnLab, marker: Path) -> dict[str, Any]:
    """What came of attacks in a pod whose containers see each other's processes."""
    return together(
        lab,
        "shared:app",
        enter_namespaces=(intruder.enter_namespaces,),
        paths=(intruder.read, [f"/proc/{pid}/root{marker}" for pid in range(1, 6)]),
        unix_sockets=(intruder.unix_sockets,),
        chroot=(intruder.chroot_and_back, machines_files(marker)),
    )


# Files


@pytest.mark.parametrize("name", FOLDERS)
def test_nothing_of_the_machines_folders_is_there(files: dict[str, Any], name: str) -> None:
    # The folder of the tools' programs, and of /var/run/secrets; a container's own, whatever the machine has there.
    assert files["read"][f"/{name}"] == {"opt": "busybox", "var": "run"}.get(name, "")


@pytest.mark.parametrize("name", SECRETS)
def test_no_secret_of_the_machines_is_there(files: dict[str, Any], name: str) -> None:
    assert files["read"][f"/etc/{name}"] == "ENOENT"


def test_nothing_else_is_at_the_top(files: dict[str, Any]) -> None:
    """Whatever folders a machine has of its own."""
    assert {*files["read"]["/"].split()} <= TOP


def test_a_file_of_the_machines_is_not_there_by_its_path(files: dict[str, Any], shared: dict[str, Any]) -> None:
    assert {*files["paths"].values(), *shared["paths"].values()} <= {"ENOENT", "EACCES"}


def test_a_chroot_leads_to_the_containers_own_root(files: dict[str, Any], shared: dict[str, Any]) -> None:
    assert files["chroot"] == shared["chroot"] == []


def test_files_can_be_made_where_they_are_the_containers_alone(lab: OwnLab) -> None:
    name = f"attack-{secrets.token_hex(8)}"
    made = inside(lab, "shared:app", intruder.create_everywhere, name)
    outside = [f"{point}/{name}" for point in made if os.path.lexists(f"{point}/{name}")]
    for path in outside:
        os.unlink(path)
    assert outside == []
    assert {point for point, output in made.items() if output == "done"} == {"/tmp", "/run", "/var", "/dev/shm"}
    found = inside(lab, "shared:web", intruder.read, [f"{point}/{name}" for point in made])
    assert {*found.values()} <= {"ENOENT"}, "nor in a container beside it"


@pytest.mark.parametrize("name", [*CHARACTERS, *DISKS, "the disk of /"])
def test_a_device_that_is_made_cannot_be_opened(files: dict[str, Any], name: str) -> None:
    output = files["devices"][name]
    assert output[:4] == ["EACCES"] * 4, "it is made, but there are no devices"
    assert "done" not in output


@pytest.mark.parametrize("attack", ["setuid_copies", "setuid_programs"])
def test_a_setuid_program_gives_nothing(files: dict[str, Any], attack: str) -> None:
    users = files[attack]
    assert {*users.values()} <= {"1000", "EACCES"}, users
    assert "1000" in users.values()


def test_capabilities_of_a_file_give_nothing(files: dict[str, Any]) -> None:
    output = files["file_capabilities"]
    assert {text.split()[1] for text in output.values()} == {"0"}, output
    assert "done 0" in output.values()


def test_nobody_is_kept_from_the_machines_programs(files: dict[str, Any]) -> None:
    """Of a file whose owner's number one has one can take a lease: then the machine waits when it opens the file."""
    assert "done" not in files["leases"].values(), files["leases"]
    assert files["leases"]


@pytest.mark.parametrize("path", MASKED)
def test_what_tells_of_the_machine_is_empty(files: dict[str, Any], path: str) -> None:
    assert files["masked"][path] in ("", "ENOENT")


@pytest.mark.parametrize("path", REFUSED)
def test_what_the_kernel_says_is_not_to_be_read(files: dict[str, Any], path: str) -> None:
    assert files["masked"][path] in ("EPERM", "EACCES", "ENOENT")


@pytest.mark.parametrize("folder", UNWRITABLE)
def test_nothing_of_the_machines_opens_for_writing(files: dict[str, Any], folder: str) -> None:
    assert files["writable"][folder] == []


def test_sysrq_is_not_to_be_had(files: dict[str, Any]) -> None:
    assert files["sysrq"] in ("EROFS", "EACCES", "EPERM", "ENOENT")


# The kernel


@pytest.mark.parametrize("name", intruder.CALLS)
def test_a_call_is_refused(answers: dict[str, Any], name: str) -> None:
    assert answers["calls"][name] in ("EPERM", "ENOSYS", *(["EACCES"] if name == "nice" else []))


@pytest.mark.parametrize("kind", intruder.NAMESPACES)
def test_there_are_no_new_namespaces(answers: dict[str, Any], kind: str) -> None:
    output = {how: text for how, text in answers["new_namespaces"].items() if how.endswith(kind)}
    assert {*output.values()} == {"EPERM"}
    assert len(output) == (1 if kind == "time" else 2), "clone3 alone makes namespaces of time"


def test_no_namespace_can_be_entered(answers: dict[str, Any], shared: dict[str, Any]) -> None:
    for output in (answers["enter_namespaces"], shared["enter_namespaces"]):
        assert {*output.values()} <= {"EPERM", "EACCES"}, output
        assert len(output) > 10


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_of_sockets_is_refused(answers: dict[str, Any], name: str) -> None:
    assert answers["families"][name] == "EPERM"


def test_mounts_of_others_cannot_be_listed(answers: dict[str, Any]) -> None:
    assert "done" not in answers["other_mounts"].values()


def test_the_machines_terminals_are_out_of_reach(answers: dict[str, Any]) -> None:
    output = dict(answers["terminal_tricks"])
    assert output.pop("of the machine") == "0 ptmx", "its own, and how to make it"
    assert "done" not in output.values(), output


def test_its_network_is_not_its_to_change(answers: dict[str, Any]) -> None:
    assert "done" not in answers["network_rights"].values(), answers["network_rights"]


def test_limits_cannot_be_raised(answers: dict[str, Any]) -> None:
    assert "done" not in answers["raise_limits"].values(), answers["raise_limits"]


def test_signals_reach_the_containers_own_processes_alone(answers: dict[str, Any]) -> None:
    output = answers["reachable"]
    assert {*output["by kill"]} <= {*output["by /proc"]}
    assert len(output["by kill"]) < 6


def test_who_kills_everybody_kills_himself(lab: OwnLab) -> None:
    before = lab.pids()
    assert inside(lab, "doomed", intruder.kill_everybody) is None
    after = lab.pids()
    lost = {name for name, pid in before.items() if after.get(name) != pid}
    assert lost <= {"doomed container/app"}


# What others on the machine share


@pytest.fixture
def key() -> Iterator[int]:
    """That of shared memory, a queue and semaphores of the machine's."""
    libc = ctypes.CDLL(None, use_errno=True)
    number = secrets.randbits(30) | 1
    made = [libc.shmget(number, 4096, 0o3600), libc.msgget(number, 0o3600), libc.semget(number, 1, 0o3600)]
    assert -1 not in made
    yield number
    libc.shmctl(made[0], 0, None)
    libc.msgctl(made[1], 0, None)
    libc.semctl(made[2], 0, 0)


def test_shared_memory_of_the_machine_is_not_there(lab: OwnLab, key: int) -> None:
    output = inside(lab, "alone", intruder.shared_memory, key)
    assert output == {"shmget": "ENOENT", "msgget": "ENOENT", "semget": "ENOENT", "seen": ""}


def test_no_socket_of_nslabs_is_inside(files: dict[str, Any], answers: dict[str, Any], shared: dict[str, Any]) -> None:
    assert files["sockets"] == answers["unix_sockets"] == shared["unix_sockets"] == []


def test_abstract_sockets_of_the_machine_are_out_of_reach(lab: OwnLab) -> None:
    name = f"nslab-attack-{secrets.token_hex(8)}"
    with contextlib.ExitStack() as kept:
        for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET, socket.SOCK_DGRAM):
            server = kept.enter_context(socket.socket(socket.AF_UNIX, kind))
            server.bind(f"\0{name}{kind}")
            if kind != socket.SOCK_DGRAM:
                server.listen()
        lines = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()]
        names = [fields[7][1:] for fields in lines if len(fields) > 7 and fields[7].startswith("@")]
        assert len([found for found in names if found.startswith(name)]) == 3
        output = inside(lab, "alone", intruder.connect, names)
    assert {*output.values()} <= {"ECONNREFUSED", "EINVAL"}, output


# What a command, and a container that starts again, has of all this


def test_a_command_is_bound_as_its_container_is(answers: dict[str, Any]) -> None:
    command, container = answers["command"], answers["container"]
    assert command == container
    assert (command["Seccomp"], command["Seccomp_filters"], command["NoNewPrivs"]) == ("2", "1", "1")
    assert (command["CapEff"], command["CapAmb"], command["CapInh"]) == ("00000000a80425fb", "0" * 16, "0" * 16)


@pytest.mark.parametrize("kind", ["pids", "memory"])
def test_a_command_is_in_its_containers_groups(lab: OwnLab, answers: dict[str, Any], kind: str) -> None:
    if not Path(f"/sys/fs/cgroup/{kind}").exists():
        pytest.skip(f"this machine has no control groups for {kind}, or those of version 2")
    (line,) = [line for line in answers["command"]["groups"].splitlines() if f":{kind}:" in line]
    assert f"/nslab.{lab.name}." in line
    assert line.endswith("alone.app")


def test_a_container_that_starts_again_is_bound_again(lab: OwnLab, answers: dict[str, Any]) -> None:
    """Its first run is not the only one that nobody gets out of."""
    before = lab.pids()["again container/app"]
    os.kill(before, signal.SIGKILL)
    until(lambda: lab.pids().get("again container/app", before) != before, 20)
    output = inside(lab, "again", intruder.settings, "1")
    assert output.pop("groups").replace("again.app", "alone.app") == answers["container"]["groups"]
    assert output == {name: value for name, value in answers["container"].items() if name != "groups"}
