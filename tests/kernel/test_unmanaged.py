"""Whatever somebody puts into a lab's namespaces is found by `diff`: the lab's own is mended, the rest is named."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import pty
import socket
import struct
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from nslab.admission.load import load
from nslab.app.drift import drift_of
from nslab.app.up import up
from nslab.linux.netlink import batch
from nslab.linux.netns import Namespaces, folder
from nslab.linux.observe.host import driver
from nslab.objects.names import netns
from nslab.wire import netlink as wire
from tests.kernel.labkit import ROOT, nslab, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.pytest_plugin.running import RunningLab

pytestmark = [pytest.mark.root, pytest.mark.lab("calico-two-node", encapsulation="VXLAN", scope="module")]


@pytest.fixture(autouse=True)
def _nothing_left(lab: RunningLab) -> Iterator[None]:
    """What one test makes does not concern the next."""
    yield
    up(load(folder(lab.name) / "lab.yaml"), unwanted=drift_of(lab.name).others)


def names(lab: RunningLab) -> list[str]:
    """How `diff` names what is not the lab's."""
    return [thing.what for thing in drift_of(lab.name).others]


def reset(lab: RunningLab) -> None:
    """`nslab up --reset --yes`; nothing is left that is not the lab's."""
    done = up(load(folder(lab.name) / "lab.yaml"), unwanted=drift_of(lab.name).others)
    assert done.refused == {}
    assert (names(lab), lab.diff()) == ([], [])


@pytest.mark.lab("by-hand-service")
def test_where_services_are_made_by_hand_settings_of_nodes_are_left_alone(lab: RunningLab) -> None:
    lab.sh("node1", "sysctl -qw net.ipv4.conf.all.route_localnet=1")
    lab.sh("client", "sysctl -qw net.ipv4.conf.all.route_localnet=1")
    assert names(lab) == ["sysctl -qw net.ipv4.conf.all.route_localnet=1"]
    assert lab.diff() == ["client has net.ipv4.conf.all.route_localnet = 1 instead of 0"]
    lab.mend()
    assert lab.sh("node1", "sysctl -n net.ipv4.conf.all.route_localnet") == "1"
    reset(lab)
    assert lab.sh("node1", "sysctl -n net.ipv4.conf.all.route_localnet") == "0"


@pytest.mark.skipif(not driver("ip_vs"), reason="this kernel has no ip_vs")
def test_an_ipvs_server_of_a_mark(lab: RunningLab) -> None:
    lab.sh("node1", "ipvsadm -A -f 7 -s rr")
    assert names(lab) == ["IPVS virtual server of mark 7"]
    reset(lab)


def test_an_xdp_program(lab: RunningLab) -> None:
    with Namespaces() as spaces:
        sock = spaces.route_socket(netns(lab.name, "pod-b"))
        index = batch.links(sock)["eth0"]
        program = wire.attribute(1, struct.pack("=i", drop_all())) + wire.u32(3, 2)
        body = wire.link_header(index) + wire.attribute(43 | 0x8000, program)
        assert batch.send(sock, [wire.message(wire.SETLINK, 0, body)]) == []
    (found,) = names(lab)
    assert found.startswith("XDP program ")
    assert found.endswith(" on eth0")
    reset(lab)


def drop_all() -> int:
    """A descriptor of an XDP program that returns XDP_DROP."""
    code = ctypes.create_string_buffer(struct.pack("=BBhiBBhi", 0xB7, 0, 0, 1, 0x95, 0, 0, 0), 16)
    licence = ctypes.create_string_buffer(b"GPL")
    asked = struct.pack("=IIQQ", 6, 2, ctypes.addressof(code), ctypes.addressof(licence))
    number = {"x86_64": 321, "aarch64": 280}[platform.machine()]
    buffer = ctypes.create_string_buffer(asked.ljust(128, b"\0"), 128)
    descriptor = ctypes.CDLL(None, use_errno=True).syscall(number, 5, buffer, 128)
    if descriptor < 0:
        pytest.skip(f"this kernel loads no program: {os.strerror(ctypes.get_errno())}")
    return int(descriptor)


LISTEN = "import socket, time; s = socket.create_server(('', 9999)); print(flush=True); time.sleep(60)"


@contextmanager
def running(lab: RunningLab, host: str, code: str) -> Iterator[subprocess.Popen[str]]:
    """A process in a host's namespace that has begun."""
    argv = ["ip", "netns", "exec", netns(lab.name, host), sys.executable, "-c", code]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        process.stdout.readline()
        yield process
        process.kill()


def test_a_process_and_where_it_listens(lab: RunningLab) -> None:
    with running(lab, "pod-b", LISTEN) as process:
        (found,) = names(lab)
        assert found.startswith(f"process {process.pid} (python")
        assert found.endswith("listens on tcp 0.0.0.0:9999")
        lab.mend()
        assert process.poll() is None
        reset(lab)
        assert process.wait() == -9


def test_a_socket_of_somebody_elsewhere(lab: RunningLab) -> None:
    with Namespaces() as spaces:
        spaces.enter(netns(lab.name, "node1"))
        with socket.create_server(("", 9998)):
            spaces.home()
            (found,) = names(lab)
            assert found.startswith(f"socket of process {os.getpid()} (")
            assert found.endswith("listens on tcp 0.0.0.0:9998")
    assert names(lab) == []


def test_the_command_line(lab: RunningLab) -> None:
    lab.sh("node1", "nft add table inet rogue")
    done = nslab("diff", lab.name)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"not nslab's, left alone, in {netns(lab.name, 'node1')}:\n  nft table inet rogue" in done.stdout
    assert json.loads(nslab("diff", lab.name, "-o", "json").stdout)["unmanaged"] == {
        netns(lab.name, "node1"): ["nft table inet rogue"]
    }
    assert "nft table inet rogue" in nslab("up", lab.name).stdout

    refused = nslab("up", lab.name, "--reset")
    assert refused.returncode == 2
    assert "there is no terminal to ask on: add --yes" in refused.stderr
    assert nslab("up", lab.name, "--yes").returncode == 2
    assert names(lab) == ["nft table inet rogue"]

    done = nslab("up", lab.name, "--reset", "--yes")
    assert (done.returncode, names(lab)) == (0, [])


@pytest.mark.parametrize(("answer", "left"), [("n", ["nft table inet rogue"]), ("y", [])])
def test_it_asks_on_a_terminal(lab: RunningLab, answer: str, left: list[str]) -> None:
    lab.sh("node1", "nft list table inet rogue 2>/dev/null || nft add table inet rogue")
    master, terminal = pty.openpty()
    argv = [sys.executable, "-P", "-m", "nslab", "up", lab.name, "--reset"]
    with subprocess.Popen(argv, stdin=terminal, stdout=terminal, stderr=terminal, cwd=ROOT) as process:
        os.close(terminal)
        shown = ""

        def asked() -> bool:
            nonlocal shown
            shown += os.read(master, 4096).decode()
            return "Take all of this away?" in shown

        until(asked)
        assert "nft table inet rogue" in shown
        os.write(master, f"{answer}\n".encode())
        assert process.wait(30) == (0 if answer == "y" else 1)
    os.close(master)
    assert names(lab) == left
