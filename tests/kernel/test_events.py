"""`events`: what the kernel and the nodes tell comes as it happens, in Kubernetes' terms."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from nslab.linux.netlink import listener
from nslab.linux.netns import Namespaces
from nslab.linux.signals import stop_descriptor
from nslab.linux.timeouts import scaled
from tests.kernel.labkit import NSLAB, ROOT, OwnLab, nslab

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnLab]:
    made = OwnLab(tmp_path_factory.mktemp("events"))
    made.up()
    yield made
    made.clear()


class Heard:
    """A call of `events`, whose lines are read by a thread."""

    def __init__(self, lab: str, *options: str) -> None:
        argv = [*NSLAB, "events", lab, "-o", "json", *options]
        self.process = subprocess.Popen(argv, stdout=-1, stderr=-1, text=True, cwd=ROOT)
        assert self.process.stderr
        assert "hearing" in self.process.stderr.readline()
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self._lines.put(line)

    def next(self, host: str, kind: str, *words: str) -> dict[str, Any]:
        """The next event of a kind with some words in it; those before it are forgotten."""
        return self.each((host, kind, *words))[0]

    def each(self, *wanted: tuple[str, ...]) -> list[dict[str, Any]]:
        """The next event of each host and kind with some words in it, in whatever order they come."""
        found: dict[tuple[str, ...], dict[str, Any]] = {}
        deadline = time.monotonic() + scaled(10)
        while len(found) < len(wanted):
            event: dict[str, Any] = json.loads(self._lines.get(timeout=max(0.0, deadline - time.monotonic())))
            for host, kind, *words in wanted:
                if (event["host"], event["kind"]) == (host, kind) and all(word in event["text"] for word in words):
                    found.setdefault((host, kind, *words), event)
        return [found[one] for one in wanted]

    def end(self) -> str:
        """End it; what it said at last."""
        self.process.send_signal(signal.SIGINT)
        return self.ended()

    def ended(self) -> str:
        """Wait until it has ended, which must be well; what it said at last."""
        assert self.process.wait(scaled(10)) == 0
        self._reader.join()
        with self.process:
            assert self.process.stderr
            return self.process.stderr.read()


@pytest.fixture
def heard(lab: OwnLab) -> Iterator[Heard]:
    running = Heard(lab.name)
    yield running
    assert running.end() == ""


def test_a_call_of_a_service(lab: OwnLab, heard: Heard) -> None:
    assert lab.talks("pod-d", "10.103.9.116")
    event = heard.next("node2", "connection", "Service default/svc-b")
    assert event["action"] == "new"
    assert event["dnat"] == "20.111.156.7:8080"
    assert event["text"].endswith("DNAT to pod-b 20.111.156.7:8080")
    assert lab.talks("client", "192.168.59.23", 31080)
    event = heard.next("node2", "connection", "client")
    assert event["snat"] == "20.109.131.0"
    lab.sh("node2", "conntrack -D -p tcp")
    assert heard.next("node2", "connection", "client")["action"] == "destroyed"


def test_what_changes_by_hand(lab: OwnLab, heard: Heard) -> None:
    def told(kind: str, words: str, command: str) -> str:
        lab.sh("node1", command)
        return str(heard.next("node1", kind, words)["action"])

    route, address = "203.0.113.0/24 via 192.168.59.23 dev eth0", "192.0.2.1/32 dev eth0"
    assert told("route", route, f"ip route add {route}") == "added"
    assert told("route", route, f"ip route del {route}") == "removed"
    assert told("address", address, f"ip address add {address}") == "added"
    assert told("address", address, f"ip address del {address}") == "removed"
    assert told("link", "tunl0, mtu 1400 (was 1480)", "ip link set tunl0 mtu 1400") == "changed"
    assert told("link", "tunl0, mtu 1480 (was 1400)", "ip link set tunl0 mtu 1480") == "changed"
    assert told("ip rule", "fwmark 0x9/0xffffffff", "ip rule add fwmark 9 lookup 99") == "added"
    assert told("ip rule", "fwmark 0x9", "ip rule del fwmark 9 lookup 99") == "removed"
    neighbour = "192.168.59.99 dev eth0"
    assert told("neighbour", neighbour, f"ip neigh add {neighbour} lladdr 02:00:00:00:00:01") == "added"
    assert told("neighbour", f"{neighbour} failed", f"ip neigh del {neighbour}") == "changed"
    assert heard.next("node1", "neighbour", neighbour)["action"] == "removed"


def test_rules_of_both_kinds(lab: OwnLab, heard: Heard) -> None:
    lab.sh("node1", "iptables -I FORWARD -p sctp -j DROP")
    event = heard.next("node1", "rule", "sctp")
    assert (event["action"], event["text"]) == ("added", "filter FORWARD: -p sctp -j DROP")
    lab.sh("node1", "iptables -D FORWARD -p sctp -j DROP")
    assert heard.next("node1", "rule", "-p sctp -j DROP")["action"] == "removed"
    lab.sh("node1", "nft add table ip mine && nft add chain ip mine c && nft add rule ip mine c tcp dport 99 drop")
    assert heard.next("node1", "rule", "table mine")["action"] == "added"
    assert heard.next("node1", "rule", "mine c: tcp dport 99 drop")["action"] == "added"
    lab.sh("node1", "nft delete table ip mine")
    assert heard.next("node1", "rule", "table mine")["action"] == "removed"


def test_pods_and_endpoints(lab: OwnLab, heard: Heard) -> None:
    assert nslab("delete", lab.name, "pod/pod-b", "--now").returncode == 0
    assert heard.next("node1", "pod", "default/pod-b", "terminating")["action"] == "changed"
    assert heard.next("node1", "pod", "default/pod-b")["pod"] == "default/pod-b"
    lab.up()
    endpoint, _ = heard.each(
        ("", "endpoint", "20.111.156.7:8080 default/pod-b, ready"), ("node1", "route", "20.111.156.7", "(pod-b)")
    )
    assert endpoint["service"] == "default/svc-b"


def test_it_ends_by_itself(lab: OwnLab) -> None:
    done = nslab("events", lab.name, "--duration", "0")
    assert done.returncode == 0
    running = Heard(lab.name, "-c", "1")
    lab.sh("node1", "ip route add 203.0.113.0/24 via 192.168.59.23 && ip route del 203.0.113.0/24")
    assert running.ended() == ""
    assert nslab("events", "nosuch").returncode == 2


def test_what_is_not_read_in_time_is_counted(lab: OwnLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "_BUFFER", 1)  # the kernel makes it the least that it allows
    groups = {listener.NETLINK_ROUTE: (listener.ADDRESSES,)}
    with (
        Namespaces() as spaces,
        stop_descriptor() as stopped,
        listener.NetlinkListener(spaces, groups, stopped) as heard,
    ):
        heard.add(lab.ns("pod-d"))
        lab.sh(
            "pod-d",
            "for n in $(seq 1 40); do ip a add 192.0.2.$n/32 dev lo; done; ip a flush dev lo to 192.0.2.0/24",
        )
        assert heard.wait(1000)
        assert heard.overruns > 0
        os.kill(os.getpid(), signal.SIGTERM)
        assert heard.wait(1000) is None


def test_down_ends_it(lab: OwnLab) -> None:
    running = Heard(lab.name)
    lab.down()
    assert running.ended() == ""
    assert lab.left() == []
