"""What `scripts/nslab` says where packages are not Debian's: in roots that are made up of an os-release and programs.

The programs are this machine's bash and coreutils, or busybox, and stubs for the rest; there is no package manager and
no network. What a real Fedora or Alpine would do beyond that is not tried here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.kernel.labkit import ROOT

TABLE = [line.split() for line in (ROOT / "nslab/packages.conf").read_text().splitlines() if line and line[0] != "#"]
MANAGERS = TABLE[0][2:]
NEEDED = [row[1:] for row in TABLE if row[0] in ("run", "build")]
PROGRAMS = [row[0] for row in NEEDED if not {"/", ":"} & {*row[0]}]
SYSTEMS = {
    "fedora": ("dnf", "Fedora Linux", "ID=fedora"),
    "rocky": ("dnf", "Rocky Linux", 'ID="rocky"\nID_LIKE="rhel centos fedora"'),
    "arch": ("pacman", "Arch Linux", "ID=arch"),
    "manjaro": ("pacman", "Manjaro Linux", "ID=manjaro\nID_LIKE=arch"),
    "leap": ("zypper", "openSUSE Leap", 'ID="opensuse-leap"\nID_LIKE="suse opensuse"'),
    "tumbleweed": ("zypper", "openSUSE Tumbleweed", 'ID="opensuse-tumbleweed"\nID_LIKE="opensuse suse"'),
    "alpine": ("apk", "Alpine Linux", "ID=alpine"),
}
COMMANDS = {"dnf": "dnf install", "pacman": "pacman -S", "zypper": "zypper install", "apk": "apk add"}


class Answer(NamedTuple):
    """What a script said, and how it ended."""

    status: int
    lines: list[str]


class Root:
    """A root file system of which only the libraries are this machine's."""

    def __init__(self, folder: Path, name: str, ids: str) -> None:
        self.folder = folder
        for place in ("usr/bin", "usr/lib", "usr/lib64", "usr/include", "etc/ssl/certs", "dev", "proc", "clone/nslab"):
            (folder / place).mkdir(parents=True)
        for link in ("bin", "lib", "lib64"):
            (folder / link).symlink_to(f"usr/{link}")
        (folder / "etc/os-release").write_text(f'NAME="{name}"\n{ids}\n')
        shutil.copytree(ROOT / "scripts", folder / "clone/scripts", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "nslab/packages.conf", folder / "clone/nslab")

    def real(self, *names: str) -> None:
        """Programs of this machine's."""
        for name in names:
            shutil.copy(str(shutil.which(name)), self.folder / "usr/bin" / name)

    def stubs(self, *names: str) -> None:
        """Programs that do nothing."""
        for name in names:
            (self.folder / "usr/bin" / name).write_text("#!/bin/sh\n")
            (self.folder / "usr/bin" / name).chmod(0o755)

    def complete(self) -> None:
        """All that nslab asks for."""
        self.real("bash", "readlink", "id", "flock", "cat", "sha256sum")
        shutil.copy("/bin/dash" if Path("/bin/dash").exists() else "/bin/sh", self.folder / "usr/bin/sh")
        self.stubs(*(name for name in PROGRAMS if name != "bash"))
        (self.folder / "usr/include/stdio.h").touch()
        (self.folder / "etc/ssl/certs/ca-certificates.crt").touch()

    def without(self, *names: str) -> None:
        for name in names:
            (self.folder / "usr/bin" / name).unlink()

    def run(self, *argv: str) -> Answer:
        """A command in there."""
        libraries = [place for place in ("/usr/lib", "/usr/lib64", "/dev", "/proc") if Path(place).is_dir()]
        mounts = [f"mount --bind {place} {self.folder}{place}" for place in libraries]
        script = " && ".join([*mounts, f'exec chroot {self.folder} "$@"'])
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", script, "sh", *argv],
            env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin"}, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.stdout == ""
        return Answer(done.returncode, done.stderr.splitlines())


@pytest.fixture(params=SYSTEMS)
def system(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Root, str, str]:
    """A root, the name of its distribution, and its package manager."""
    manager, name, ids = SYSTEMS[request.param]
    return Root(tmp_path, name, ids), name, manager


pytestmark = pytest.mark.skipif(not Path("/lib").is_symlink(), reason="this machine's /lib is not in /usr")


def packages(manager: str, *names: str) -> str:
    """What a manager calls the packages of some programs, each once."""
    column = 1 + MANAGERS.index(manager)
    return " ".join(dict.fromkeys(row[column] for row in NEEDED if row[0] in names and row[column] != "-"))


def test_what_is_missing_is_named_as_it_is_named_there(system: tuple[Root, str, str]) -> None:
    root, name, manager = system
    root.complete()
    root.without("ip", "tc", "conntrack", "sysctl")
    assert root.run("/clone/scripts/nslab", "up", "calico-two-node") == Answer(
        4,
        [
            "nslab: missing on this machine: ip, tc, conntrack, sysctl",
            f"nslab: on {name}, as root: {COMMANDS[manager]} {packages(manager, 'ip', 'tc', 'conntrack', 'sysctl')}",
        ],
    )
    assert not (root.folder / "clone/.venv").exists()
    assert root.run("/clone/scripts/test") == root.run("/clone/scripts/nslab", "labs")


def test_where_all_is_there_nothing_is_asked_for(system: tuple[Root, str, str]) -> None:
    root, _, _ = system
    root.complete()
    assert root.run("/clone/scripts/packages", "--tell", "run", "build") == Answer(0, [])


def test_fedoras_words(tmp_path: Path) -> None:
    root = Root(tmp_path, "Fedora Linux", "ID=fedora")
    root.complete()
    root.without(*PROGRAMS)
    root.real("bash")
    (tmp_path / "usr/include/stdio.h").unlink()
    status, (missing, advice) = root.run("/clone/scripts/nslab", "labs")
    assert status == 4
    assert missing == f"nslab: missing on this machine: {', '.join([*PROGRAMS[1:], 'stdio.h', 'ensurepip'])}"
    head, names = advice.split(" dnf install ")
    assert head == "nslab: on Fedora Linux, as root:"
    assert names == packages("dnf", *(row[0] for row in NEEDED[1:]))
    known = "iproute iproute-tc iptables-nft nftables conntrack-tools dnsmasq iputils procps-ng gcc glibc-devel"
    assert {*known.split()} <= {*names.split()}


def test_busybox_is_not_iproute2(tmp_path: Path) -> None:
    if (busybox := shutil.which("busybox")) is None:
        pytest.skip("busybox is not installed")
    root = Root(tmp_path, "Alpine Linux", "ID=alpine")
    shutil.copy(busybox, tmp_path / "usr/bin/busybox")
    applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
    for applet in applets:
        if applet != "busybox":
            (tmp_path / "usr/bin" / applet).symlink_to("busybox")
    assert {"ip", "ping", "sysctl", "modprobe", "sh", "readlink"} <= {*applets}
    status, (missing, advice) = root.run("/clone/scripts/nslab", "up", "calico-two-node")
    assert status == 4
    assert missing.startswith("nslab: missing on this machine: bash, ip, tc, iptables,")
    assert {"ping", "modprobe", "sysctl"} <= {*missing.replace(",", "").split()}
    head, names = advice.split(" apk add ")
    assert head == "nslab: on Alpine Linux, as root:"
    assert names == packages("apk", *(row[0] for row in NEEDED))
    known = "bash iproute2 iputils procps-ng kmod python3 gcc musl-dev ca-certificates"
    assert {*known.split()} <= {*names.split()}


def test_an_unknown_distribution_hears_debians_names(tmp_path: Path) -> None:
    root = Root(tmp_path, "NixOS", "ID=nixos")
    root.complete()
    root.without("conntrack", "nft")
    assert root.run("/clone/scripts/nslab", "labs") == Answer(
        4,
        [
            "nslab: missing on this machine: nft, conntrack",
            "nslab: NixOS is not known to nslab; Debian's packages of them are nftables conntrack",
        ],
    )


def test_debians_packages_are_installed_and_not_told(tmp_path: Path) -> None:
    root = Root(tmp_path, "Linux Mint", "ID=linuxmint\nID_LIKE='ubuntu debian'")
    root.complete()
    root.without("nft")
    (tmp_path / "usr/bin/apt-get").write_text('#!/bin/sh\necho "apt-get $*" >&2\nexit 1\n')
    (tmp_path / "usr/bin/apt-get").chmod(0o755)
    root.real("env")
    status, lines = root.run("/clone/scripts/nslab", "labs")
    assert status == 4
    assert lines[0] == "nslab: installing the Debian packages nftables: what labs are built and looked at with"
    assert lines[-1] == "nslab: apt-get could not install them"
    assert not os.path.exists(tmp_path / "clone/.venv")
