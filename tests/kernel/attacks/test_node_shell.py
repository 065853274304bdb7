"""A shell on a node is root's, with all rights; what it writes where a person writes is the node's all the same."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.kernel.attacks import intruder
from tests.kernel.attacks.attackkit import MARKS, SLEEP, inside, interpreter, pod, running, secret, together
from tests.kernel.labkit import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kernel.labkit import OwnLab

pytestmark = MARKS
HOSTS = ("node1", "client", "switch")
OWN = (
    "/root", "/home", "/etc", "/etc/profile.d", "/etc/cron.d", "/etc/systemd/system", "/var", "/var/log", "/var/lib",
    "/var/tmp", "/var/spool", "/opt", "/srv", "/tmp", "/run", "/dev/shm",
)  # fmt: skip
"""Where a node may write; it is another place than the machine's."""
FOREIGN = (
    "/", "/usr", "/usr/bin", "/usr/local", "/usr/local/bin", "/usr/lib", "/boot", "/mnt", "/media", "/dev", "/sys",
    "/proc", "/proc/sys/kernel", "/lost+found", str(ROOT), str(ROOT / "nslab"),
)  # fmt: skip
"""Where nobody does."""
PLACES = [*(place for place in OWN if os.path.isdir(place)), "/", "/dev", "/usr", "/boot"]
FILES = ("/usr/bin/env", "/bin/sh", "/usr/lib/os-release", str(interpreter()), str(Path(__file__)))
FROZEN = (
    "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/kernel/hostname", "/proc/sys/kernel/sysrq",
    "/proc/sys/kernel/panic", "/proc/sys/kernel/pid_max", "/proc/sys/kernel/randomize_va_space",
    "/proc/sys/vm/overcommit_memory", "/proc/sys/vm/drop_caches", "/proc/sys/fs/file-max", "/proc/sys/fs/nr_open",
    "/proc/sys/fs/suid_dumpable", "/proc/sys/user/max_user_namespaces",
)  # fmt: skip
NETWORK = {
    "/proc/sys/net/ipv4/ip_forward": "1", "/proc/sys/net/ipv4/conf/all/rp_filter": "0",
    "/proc/sys/net/ipv4/conf/lo/accept_local": "1", "/proc/sys/net/ipv6/conf/all/forwarding": "1",
}  # fmt: skip
NAME = f"attack-{secrets.token_hex(8)}"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnLab]:
    with running(tmp_path_factory.mktemp("lab"), pod("alone", {"app": SLEEP})) as made:
        yield made


@pytest.fixture(scope="module")
def marker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return secret(tmp_path_factory.mktemp("machine"))


@pytest.fixture(scope="module", params=HOSTS)
def answers(request: pytest.FixtureRequest, lab: OwnLab, marker: Path) -> Iterator[dict[str, Any]]:
    """What came of attacks from a node, a client, or the switch."""
    root = os.stat("/").st_dev
    nodes = {
        "the disk of /": [stat.S_IFBLK, os.major(root), os.minor(root)],
        "the kernel's log": [stat.S_IFCHR, 1, 11],
        "null": [stat.S_IFCHR, 1, 3],
    }
    yield together(
        lab,
        request.param,
        create=(intruder.create_in, [*OWN, *FOREIGN], NAME),
        change=(intruder.changes, [*FILES, "/proc/self/exe"]),
        read=(intruder.read, ["/root", "/home", "/tmp", str(marker)]),
        block_devices=(intruder.block_devices,),
        devices=(intruder.devices, nodes, PLACES),
        kernel=(intruder.settings_of_the_kernel, NETWORK),
        sysrq=(intruder.for_writing, "/proc/sysrq-trigger"),
        sys=(intruder.writable_below, ["/sys/power", "/sys/module", "/sys/kernel/mm", "/sys/devices/system"]),
    )
    for path in outside():
        os.unlink(path)


def outside() -> list[str]:
    """Files that an attack made on the machine."""
    return [f"{folder}/{NAME}" for folder in (*OWN, *FOREIGN) if os.path.lexists(f"{folder}/{NAME}")]


@pytest.mark.parametrize("folder", OWN)
def test_what_is_written_is_the_nodes(answers: dict[str, Any], folder: str) -> None:
    assert answers["create"].get(folder, "done") == "done"
    assert not os.path.lexists(f"{folder}/{NAME}")


@pytest.mark.parametrize("folder", FOREIGN)
def test_nothing_is_written_elsewhere(answers: dict[str, Any], folder: str) -> None:
    assert answers["create"].get(folder, "EROFS") in ("EROFS", "ENOENT", "EACCES")
    assert not os.path.lexists(f"{folder}/{NAME}")


@pytest.mark.parametrize("path", [*FILES, "/proc/self/exe"])
def test_a_file_of_the_machines_cannot_be_changed(answers: dict[str, Any], path: str) -> None:
    output = {how: text for how, text in answers["change"][path].items() if text != "ETXTBSY"}
    assert output.pop("link", "EXDEV") in ("EXDEV", "EROFS", "ENOENT")
    assert {*output.values()} in ({"EROFS"}, {"ENOENT"}), output


def test_homes_and_temporary_files_of_the_machine_are_not_there(answers: dict[str, Any], marker: Path) -> None:
    assert answers["read"][str(marker)] == "ENOENT"
    for folder in ("/root", "/home"):
        shown = {*answers["read"][folder].split()} - {NAME}
        assert not shown & {*os.listdir(folder)} or str(ROOT).startswith(folder)


def test_there_is_no_disk_and_none_can_be_made(answers: dict[str, Any]) -> None:
    assert answers["block_devices"] == []
    for name, output in answers["devices"].items():
        assert {*output} <= {"EACCES", "EROFS", "EPERM", "ENOENT"}, name
    # Not only this one kind: a machine may refuse its disk by other means.
    assert answers["devices"]["null"].count("EACCES") >= len(PLACES) - 4


@pytest.mark.parametrize("path", FROZEN)
def test_a_setting_of_the_machines_is_not_the_nodes(answers: dict[str, Any], path: str) -> None:
    assert answers["kernel"].get(path, "EROFS") in ("EROFS", "EACCES", "EPERM")


def test_no_other_is(answers: dict[str, Any]) -> None:
    assert [path for path, output in answers["kernel"].items() if output == "done" and path not in NETWORK] == []


@pytest.mark.parametrize("path", NETWORK)
def test_a_setting_of_the_network_is(answers: dict[str, Any], path: str) -> None:
    if os.path.exists(path):
        assert answers["kernel"][path] == "done"


def test_sysrq_and_sys_are_not_to_be_written(answers: dict[str, Any]) -> None:
    assert answers["sysrq"] in ("EROFS", "ENOENT", "EACCES")
    assert not any(answers["sys"].values())


@pytest.mark.parametrize("host", HOSTS)
def test_nothing_of_the_callers_is_handed_in(lab: OwnLab, host: str) -> None:
    folder = os.open("/", os.O_RDONLY)
    try:
        os.set_inheritable(folder, True)
        opened = inside(lab, host, intruder.descriptors, pass_fds=[folder])
    finally:
        os.close(folder)
    assert opened == ["0 pipe", "1 pipe", "2 pipe"]
