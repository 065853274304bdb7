"""`capture`: all that interfaces pass is in one file, which Wireshark's own reader understands."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.kernel.labkit import NSLAB, OwnLab, agnhosts, nslab, until

if TYPE_CHECKING:
    from collections.abc import Iterator

BURST = 10_000


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnLab]:
    made = OwnLab(tmp_path_factory.mktemp("capture"))
    made.up()
    yield made
    made.clear()


class Running:
    """A capture that has begun."""

    def __init__(self, *arguments: str, env: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen([*NSLAB, "capture", *arguments], stdout=-1, stderr=-1, env=env)
        assert self.process.stderr
        assert b"capturing at" in self.process.stderr.readline()

    def end(self, number: int = signal.SIGINT) -> tuple[int, bytes, str]:
        """End it; its status, what it wrote, and what it said at last."""
        self.process.send_signal(number)
        output, said = self.process.communicate(timeout=60)
        return self.process.returncode, output, said.decode()


def read(file: Path, *fields: str, only: str = "") -> list[dict[str, str]]:
    """Some fields of the packets in a file, as tshark reads it."""
    if not shutil.which("tshark"):
        pytest.skip("tshark is not installed")
    wanted = [word for field in fields for word in ("-e", field)]
    argv = ["tshark", "-r", str(file), "-T", "json", *wanted, *(["-Y", only] if only else [])]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    packets = [packet["_source"]["layers"] for packet in json.loads(done.stdout)]
    return [{field: packet.get(field, [""])[0] for field in fields} for packet in packets]


def catches(pid: int, number: int) -> bool:
    """Whether a process has a handler for a signal."""
    lines = dict(line.split(":\t") for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return bool(int(lines["SigCgt"], 16) & 1 << number - 1)


def test_a_call_of_a_service_at_all_interfaces(lab: OwnLab, tmp_path: Path) -> None:
    file = tmp_path / "all.pcapng"
    running = Running(lab.name, "-w", str(file))
    assert lab.talks("pod-d", "10.103.9.116")
    status, _, said = running.end()
    assert (status, "none lost" in said) == (0, True), said
    assert file.stat().st_mode & 0o777 == 0o600
    seen = read(file, "frame.interface_name", "ip.dst", "frame.comment", "frame.time_epoch", only="tcp.flags == 0x002")
    assert [one["frame.interface_name"].partition(":")[0] for one in seen] == [
        "pod-d", "node2", "node2", "node2", "switch", "switch", "node1", "node1", "node1", "pod-b"
    ]  # fmt: skip
    comments = [one["frame.comment"] for one in seen if one["frame.comment"]]
    assert comments == ["node2: DNAT 10.103.9.116:8080 => 20.111.156.7:8080"]
    times = [one["frame.time_epoch"] for one in seen]
    assert times == sorted(times)
    back = read(file, "frame.comment", only="frame.comment contains reverse")
    assert {one["frame.comment"] for one in back} == {"node2: reverse DNAT 20.111.156.7:8080 => 10.103.9.116:8080"}


def test_interfaces_that_come_later(lab: OwnLab, tmp_path: Path) -> None:
    file, pod = tmp_path / "later.pcapng", tmp_path / "late.yaml"
    pod.write_text(agnhosts({"late": ("late", "node1")}))
    running = Running(lab.name, "-w", str(file), "--filter", "tcp port 8080")
    for _ in range(2):  # the second one has the name of the first, and nothing else of it
        assert nslab("apply", lab.name, "-f", str(pod), "--wait").returncode == 0
        assert lab.talks("pod-d", nslab("get", lab.name, "pod/late", "-o", "jsonpath={.status.podIP}").stdout)
        assert nslab("delete", lab.name, "pod/late", "--now").returncode == 0
    status, _, said = running.end()
    assert (status, "none lost" in said) == (0, True), said
    seen = read(file, "frame.interface_name", "frame.interface_id", only="tcp.flags == 0x002 && ip.src == 20.109.131.3")
    places = [one["frame.interface_id"] for one in seen if one["frame.interface_name"] == "late:eth0"]
    assert len(places) == len({*places}) == 2
    assert len([one for one in seen if one["frame.interface_name"].startswith("node1:cali")]) == 2


def test_a_packet_is_followed_through_all_interfaces(lab: OwnLab) -> None:
    running = Running(lab.name, "--follow", "--filter", "tcp port 8080 or proto 4")
    assert lab.talks("pod-d", "10.103.9.116")
    status, output, _ = running.end()
    [asked, *_] = [one for one in output.decode().splitlines() if "TCP [S]," in one]
    places = [place.partition(" [")[0] for place in asked.partition(": pod-d:")[2].rpartition(" (")[0].split(" > ")]
    assert (status, [place.partition(":")[0] for place in places]) == (
        0, ["eth0", "node2", "node2", "node2", "switch", "switch", "node1", "node1", "node1", "pod-b"]
    )  # fmt: skip
    assert "node2:tunl0 [DNAT 10.103.9.116:8080 => 20.111.156.7:8080]" in asked
    assert "[reverse DNAT 20.111.156.7:8080 => 10.103.9.116:8080]" in output.decode()


def test_no_packet_of_a_burst_is_lost(lab: OwnLab, tmp_path: Path) -> None:
    def without_server() -> int:
        """The datagrams that came to pod-b for a port that nobody has."""
        return int(lab.sh("pod-b", "grep ^Udp: /proc/net/snmp | tail -1").split()[2])

    file, before = tmp_path / "burst.pcapng", without_server()
    running = Running(lab.name, "pod-a:eth0", "pod-b:eth0", "-w", str(file), "--filter", "udp port 9999")
    line = (
        f"import socket; s = socket.socket(2, 2); [s.sendto(b'%d' % n, ('20.111.156.7', 9999)) for n in range({BURST})]"
    )
    lab.sh("pod-a", f'python3 -c "{line}"')
    status, _, said = running.end(signal.SIGTERM)
    assert (status, "none lost" in said) == (0, True), said
    found = Counter(one["frame.interface_name"] for one in read(file, "frame.interface_name", only="udp.port == 9999"))
    assert found["pod-a:eth0"] == BURST
    assert found["pod-b:eth0"] == without_server() - before > 0, "all that came; a bridge's queue may lose some"


def test_lines_as_tcpdump_has_them(lab: OwnLab) -> None:
    running = Running(lab.name, "node2", "--filter", "tcp port 8080")
    assert lab.talks("pod-d", "10.103.9.116")
    status, output, _ = running.end()
    assert status == 0
    lines = output.decode().splitlines()
    assert any(
        "node2:cali" in one and " In  IP 20.109.131.3." in one and "> 10.103.9.116.8080: TCP [S]" in one
        for one in lines
    )
    assert any(one.endswith("# node2: DNAT 10.103.9.116:8080 => 20.111.156.7:8080") for one in lines)
    assert all("node2:" in one for one in lines)


def test_it_ends_by_itself(lab: OwnLab) -> None:
    assert nslab("capture", lab.name, "--duration", "0.1").returncode == 0
    running = Running(lab.name, "pod-d", "-c", "2")
    until(lambda: lab.talks("pod-d", "10.103.9.116") and running.process.poll() is not None)
    assert running.process.communicate()[0].count(b"\n") == 2


def test_whoever_reads_no_more_ends_it(lab: OwnLab) -> None:
    line = f"{' '.join(NSLAB)} capture {lab.name} -w - 2>&1 >&3 | cat"
    script = f"({line}) 3>&1 | head -c 100 | wc -c"
    process = subprocess.Popen(["bash", "-c", script], stdout=-1, text=True)
    until(lambda: lab.talks("pod-d", "10.103.9.116") and process.poll() is not None)
    assert process.communicate()[0].strip() == "100"


def test_it_goes_on_while_interfaces_go_down_and_vanish(lab: OwnLab, tmp_path: Path) -> None:
    file = tmp_path / "down.pcapng"
    lab.sh("node1", "ip link add gone type veth peer name lost; ip link set gone up")
    running = Running(lab.name, "node1", "--duration", "inf", "-w", str(file))
    lab.sh("node1", "ip link del gone; ip link set lo down; ip link set lo up")
    lab.sh("node1", "ping -q -c 1 127.0.0.1")
    status, _, said = running.end()
    assert (status, "none lost" in said) == (0, True), said
    assert [one["frame.interface_name"] for one in read(file, "frame.interface_name", only="icmp.type == 0")] == [
        "node1:lo", "node1:lo"
    ]  # fmt: skip


def test_a_file_is_for_who_ran_sudo_and_a_count_is_what_was_wanted(lab: OwnLab, tmp_path: Path) -> None:
    file = tmp_path / "own.pcapng"
    running = Running(lab.name, "-w", str(file), "-c", "3", env={**os.environ, "SUDO_UID": "65534"})
    assert lab.talks("pod-d", "10.103.9.116")
    assert running.process.communicate(timeout=60)[1].decode().endswith("3 packets; none lost\n")
    assert (file.stat().st_uid, file.stat().st_mode & 0o777) == (65534, 0o600)
    running = Running(lab.name, "pod-d:eth0", "-c", "2")
    assert lab.talks("pod-d", "10.103.9.116")
    lines, said = running.process.communicate(timeout=60)
    assert (len(lines.splitlines()), said.decode().endswith("2 packets; none lost\n")) == (2, True)


def test_it_ends_with_its_lab(tmp_path: Path) -> None:
    short = OwnLab(tmp_path, "pause-pod")
    short.up()
    running = Running(short.name)
    short.clear()
    assert "none lost" in running.process.communicate(timeout=60)[1].decode()
    assert running.process.returncode == 0


def test_a_second_signal_ends_it_if_nobody_reads(lab: OwnLab, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    process = subprocess.Popen([*NSLAB, "capture", lab.name, "-w", str(tmp_path / "pipe")])
    until(lambda: catches(process.pid, signal.SIGTERM))
    process.send_signal(signal.SIGTERM)
    until(lambda: not catches(process.pid, signal.SIGTERM))
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == -signal.SIGTERM


def test_mistakes_are_one_sentence(lab: OwnLab, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for words, says in {
        ("node3",): f"{lab.name} has no node3; did you mean node2?",
        ("node1:eth9",): f"{lab.name} has no node1:eth9; did you mean node1:eth0?",
        ("--filter", "tcp prt 80"): "tcpdump does not know the filter 'tcp prt 80': ",
        ("--filter", "-w /tmp/x"): "tcpdump does not know the filter",
        ("-w", tmp_path / "no" / "file"): "No such file or directory",
        ("-w", tmp_path / "link"): "Too many levels of symbolic links",
    }.items():
        done = nslab("capture", lab.name, *words, "--duration", "1")
        assert done.returncode == 2, words
        assert says in done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "elsewhere").exists()
    full = nslab("capture", lab.name, "-w", "/dev/full", "--duration", "1")
    assert (full.returncode, full.stderr.splitlines()[-1]) == (3, "nslab: /dev/full: No space left on device")
