"""What this machine's own kernel may lack is in there."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest


def sh(line: str) -> str:
    """One command, as typed; its output."""
    return subprocess.run(line.split(), capture_output=True, text=True, check=True).stdout


def test_it_is_a_kernel_of_its_own() -> None:
    assert os.uname().nodename == "nslab-vm"
    assert os.geteuid() == 0


@pytest.mark.parametrize("kind", ["ipip remote 192.0.2.1", "vxlan id 1 dstport 4789", "dummy", "bridge", "veth"])
def test_links_can_be_made(kind: str) -> None:
    sh(f"ip link add nslab-test type {kind}")
    try:
        [link] = json.loads(sh("ip -d -j link show nslab-test"))
        assert link["linkinfo"]["info_kind"] == kind.split()[0]
    finally:
        sh("ip link del nslab-test")


def test_ipvs_takes_a_service() -> None:
    sh("ipvsadm -A -t 10.96.0.1:80 -s rr")
    try:
        assert "-A -t 10.96.0.1:80 -s rr" in sh("ipvsadm -S -n")
    finally:
        sh("ipvsadm -D -t 10.96.0.1:80")


def test_iptables_can_translate_addresses() -> None:
    assert "legacy" in sh("iptables --version")
    rule = "-s 192.0.2.0/24 -j MASQUERADE"
    sh(f"iptables -t nat -A POSTROUTING {rule}")
    try:
        assert f"-A POSTROUTING {rule}" in sh("iptables -t nat -S")
    finally:
        sh(f"iptables -t nat -D POSTROUTING {rule}")


@pytest.mark.parametrize("path", ["/etc", "/usr", "/root", "/var/lib"])
def test_the_machine_is_read_only(path: str) -> None:
    with pytest.raises(OSError, match="Read-only"):
        Path(path, "nslab-test").touch()


@pytest.mark.parametrize("path", ["/run", "/tmp", "/var/tmp", "/dev/shm", "."])
def test_what_must_be_writable_is(path: str) -> None:
    file = Path(path, ".nslab-test")
    file.touch()
    file.unlink()
