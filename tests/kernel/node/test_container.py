"""A container is a process of this machine that can do little to it. Each test asks from inside."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from nodebench import RESOLV_CONF, Bench

from nslab.components.kubelet import rights
from nslab.objects.container import Security

pytestmark = pytest.mark.root

DEFAULT_CAPABILITIES = "00000000a80425fb"
"""What `docker run` and containerd leave a container that is not privileged."""


@pytest.fixture
def pod(bench: Bench) -> Bench:
    """A pod of one container that only waits."""
    bench.node()
    bench.start(bench.sandbox("pod-b", address="20.111.156.7"), bench.workload("pod-b", "app", "sleep", "1000"))
    return bench


def ask(pod: Bench, script: str) -> tuple[int, str]:
    return pod.exec("pod-b", "container/app", "sh", "-c", script)


@pytest.mark.parametrize("path", ["/etc/nslab-was-here", "/usr/nslab-was-here", "/root/nslab-was-here", "/nslab"])
def test_cannot_write_to_the_machines_disk(pod: Bench, path: str) -> None:
    status, output = ask(pod, f"echo x > {path}")
    assert status != 0
    assert "Read-only file system" in output
    assert not os.path.exists(path)


def test_no_mount_is_writable_but_its_own_tmpfs(pod: Bench) -> None:
    status, mounts = ask(pod, "cat /proc/self/mountinfo")
    assert status == 0
    writable = {line.split()[4] for line in mounts.splitlines() if line.split()[5].startswith("rw")}
    assert writable == {"/tmp", "/run", "/var", "/dev/shm", "/dev/pts"}


@pytest.mark.parametrize("folder", ["/tmp", "/run", "/var", "/dev/shm"])
def test_writes_to_its_own_memory(pod: Bench, folder: str) -> None:
    assert ask(pod, f"echo mine > {folder}/note && cat {folder}/note") == (0, "mine\n")
    assert not os.path.exists(f"{folder}/note")


def test_cannot_change_the_kernels_settings(pod: Bench) -> None:
    for path in ("/proc/sys/kernel/core_pattern", "/proc/sys/vm/overcommit_memory", "/proc/sys/net/ipv4/ip_forward"):
        status, output = ask(pod, f"echo 1 > {path}")
        assert status != 0
        assert "Read-only file system" in output


def test_sees_no_process_but_its_own_and_cannot_signal_one(pod: Bench) -> None:
    status, output = ask(pod, "ls /proc | grep -x '[0-9]*' | sort -n | head -1; cat /proc/1/comm")
    assert (status, output) == (0, "1\nsleep\n")
    # A number that is in use outside, and not in there.
    number = max(int(name) for name in os.listdir("/proc") if name.isdigit())
    assert ask(pod, f"kill -0 {number}")[0] != 0


def test_cannot_see_the_processes_and_files_of_another_pod(pod: Bench) -> None:
    pod.start(pod.sandbox("pod-c"), pod.workload("pod-c", "app", "sh", "-c", "echo hers > /tmp/hers; exec sleep 999"))
    assert pod.exec("pod-c", "container/app", "cat", "/tmp/hers")[1] == "hers\n"
    assert ask(pod, "cat /tmp/hers")[0] != 0
    assert "999" not in ask(pod, "cat /proc/[0-9]*/cmdline")[1]


def test_cannot_make_itself_the_disk(pod: Bench) -> None:
    # Made in its tmpfs, a device node cannot be opened; in /dev, where it could be, none can be made.
    root = os.stat("/").st_dev
    numbers = f"{os.major(root)} {os.minor(root)}"
    status, output = ask(pod, f"mknod /tmp/disk b {numbers} && head -c 512 /tmp/disk")
    assert status != 0
    assert "Permission denied" in output
    status, output = ask(pod, f"mknod /dev/disk b {numbers}")
    assert status != 0
    assert "Read-only file system" in output


def test_cannot_mount(pod: Bench) -> None:
    assert ask(pod, "mount -t tmpfs none /tmp")[0] != 0
    assert ask(pod, "mount -o remount,rw /")[0] != 0
    assert ask(pod, "umount /etc/hosts")[0] != 0


def test_has_the_runtimes_capabilities_and_can_gain_none(pod: Bench) -> None:
    output = ask(pod, "cat /proc/1/status")[1]
    fields = dict(line.split(":\t", 1) for line in output.splitlines())
    assert {name: fields[name] for name in ("CapPrm", "CapEff", "CapBnd")} == dict.fromkeys(
        ("CapPrm", "CapEff", "CapBnd"), DEFAULT_CAPABILITIES
    )
    assert fields["CapInh"] == fields["CapAmb"] == "0" * 16
    assert fields["NoNewPrivs"] == "1"
    # And what `nslab exec` runs has no more.
    inside = dict(line.split(":\t", 1) for line in ask(pod, "cat /proc/self/status")[1].splitlines())
    for name in ("CapPrm", "CapEff", "CapBnd", "CapInh", "NoNewPrivs", "Uid", "Groups"):
        assert inside[name] == fields[name]


def test_runs_as_whom_it_is_told(bench: Bench) -> None:
    bench.node()
    whom = Security(1000, 2000, (3000,), ("NET_RAW", "KILL"))
    app = bench.workload("pod-b", "app", "sh", "-c", "echo said >/dev/stderr && exec sleep 999", security=whom)
    bench.start(bench.sandbox("pod-b"), app)
    fields = dict(line.split(":\t", 1) for line in ask(bench, "cat /proc/1/status")[1].splitlines())
    assert [fields[name].split() for name in ("Uid", "Gid", "Groups")] == [["1000"] * 4, ["2000"] * 4, ["3000"]]
    assert {fields[name] for name in ("CapPrm", "CapEff", "CapInh", "CapAmb")} == {"0" * 16}
    assert int(fields["CapBnd"], 16) == int(DEFAULT_CAPABILITIES, 16) & ~(1 << 13) & ~(1 << 5)
    # So does what `nslab exec` runs.
    assert ask(bench, "id -u; id -g; id -G; echo ~") == (0, "1000\n2000\n2000 3000\n/\n")
    assert ask(bench, "echo x > /proc/1/fd/1; kill -0 1") == (0, "")


def test_root_without_capabilities_is_held_to_modes(bench: Bench) -> None:
    bench.node()
    none = tuple(rights.CAPABILITIES)
    bench.start(bench.sandbox("pod-b"), bench.workload("pod-b", "app", "sleep", "999", security=Security(dropped=none)))
    fields = dict(line.split(":\t", 1) for line in ask(bench, "cat /proc/1/status")[1].splitlines())
    assert {fields[name] for name in ("CapPrm", "CapEff", "CapBnd", "CapInh", "CapAmb")} == {"0" * 16}
    assert fields["Uid"].split() == ["0"] * 4
    assert "Operation not permitted" in ask(bench, "touch /tmp/file && chown 5 /tmp/file")[1]


def test_has_the_filter_of_system_calls_and_a_keyring_of_its_own(pod: Bench) -> None:
    output = dict(line.split(":\t", 1) for line in ask(pod, "cat /proc/1/status")[1].splitlines())
    assert output["Seccomp"] == ("2" if rights.FILTER else "0")


def test_has_the_names_of_the_pod(pod: Bench) -> None:
    assert ask(pod, "hostname; cat /etc/hostname") == (0, "pod-b\npod-b\n")
    assert ask(pod, "cat /etc/resolv.conf") == (0, RESOLV_CONF)
    hosts = ask(pod, "cat /etc/hosts")[1]
    assert hosts.startswith("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n")
    assert hosts.endswith("\n20.111.156.7\tpod-b\n")
    assert ask(pod, "echo x >> /etc/hosts")[0] != 0


def test_has_its_environment_and_devices(pod: Bench) -> None:
    status, output = ask(pod, "tr '\\0' '\\n' < /proc/1/environ")
    assert status == 0
    assert f"NSLAB={pod.ns('pod-b')} container\n" in output
    assert "COLOUR=green" in output
    assert "HOSTNAME=pod-b" in output
    assert ask(pod, "echo x > /dev/null; head -c 3 /dev/zero | od -An -tx1") == (0, " 00 00 00\n")
    devices = "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero"
    assert ask(pod, "ls /dev")[1].split() == devices.split()
    assert ask(pod, "python3 -c 'import pty; print(pty.openpty()[0] > 0)'") == (0, "True\n")


def test_sees_the_network_of_its_pod_in_sys(pod: Bench) -> None:
    assert ask(pod, "ls /sys/class/net") == (0, "lo\n")


def test_does_not_show_its_mounts_to_the_machine(pod: Bench) -> None:
    points = {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}
    ours = {point for point in points if point.startswith(f"{pod.run}/")}
    assert ours == {f"{pod.run}/ns", *(f"{pod.run}/ns/{pod.ns(host)}" for host in pod.hosts)}
    assert points.isdisjoint({"/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/var/log"})
