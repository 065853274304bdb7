"""The one list of packages, as nslab reads it; tests/kernel/test_distributions.py tries how scripts do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nslab.linux.packages import _advice, _rows, advice

ROOT = Path(__file__).parents[2]
LINES = [line.split() for line in (ROOT / "nslab/packages.conf").read_text().splitlines() if line and line[0] != "#"]


def test_each_row_has_a_package_for_each_family() -> None:
    assert {len(line) for line in LINES} == {7}
    assert [line[0] for line in LINES[:3]] == ["manager", "verb", "like"]
    assert {line[0] for line in LINES[3:]} == {"run", "build", "want", "test", "large", "tool"}
    assert len({line[1] for line in LINES[3:]}) == len(LINES[3:])
    # Labs can be had in every family: nothing that they want is without a package.
    assert [line for line in LINES[3:] if line[0] == "run" and "-" in line] == []


@pytest.mark.parametrize(
    ("program", "name", "ids", "output"),
    [
        ("nft", "Debian GNU/Linux", ("debian",), "on Debian GNU/Linux: apt install nftables"),
        ("ip", "Ubuntu", ("ubuntu", "debian"), "on Ubuntu: apt install iproute2"),
        ("conntrack", "Fedora Linux", ("fedora",), "on Fedora Linux: dnf install conntrack-tools"),
        ("iptables-nft-restore", "Rocky Linux", ("rocky", "fedora"), "on Rocky Linux: dnf install iptables-nft"),
        ("ping", "Manjaro Linux", ("manjaro", "arch"), "on Manjaro Linux: pacman -S iputils"),
        ("dnsmasq", "openSUSE Leap", ("opensuse-leap", "suse", "opensuse"), "on openSUSE Leap: zypper install dnsmasq"),
        ("sysctl", "Alpine Linux", ("alpine",), "on Alpine Linux: apk add procps-ng"),
        ("ping", "NixOS", ("nixos",), "on Debian: apt install iputils-ping"),
        ("frobnicate", "Fedora Linux", ("fedora",), "on Fedora Linux: dnf install frobnicate"),
    ],
)  # fmt: skip
def test_a_missing_program_is_named_as_its_package_is(
    program: str, name: str, ids: tuple[str, ...], output: str
) -> None:
    assert _advice(program, name, ids) == output


def test_nothing_large_is_installed_unasked() -> None:
    install = (ROOT / "scripts/install").read_text()
    assert "want ${dev:+test}" in install
    assert "large" not in install
    assert {line[1] for line in LINES if line[0] == "large"} >= {"chromium"}
    assert advice("chromium").endswith("chromium")


def test_only_a_known_program_has_advice() -> None:
    assert advice("nc").endswith(("netcat-openbsd", "netcat"))
    assert advice("frobnicate") == advice("") == ""


def test_what_nslab_calls_is_in_the_list() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "nslab").rglob("*.py"))
    called = {*re.findall(r'\bprogram\("([a-z-]+)"\)', sources), "dnsmasq", "ip", "tc", "iptables-restore", "tcpdump"}
    assert len(called) > 5
    assert [name for name in sorted(called) if name.partition("-")[0] not in _rows()] == []
