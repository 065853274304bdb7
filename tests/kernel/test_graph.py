"""The picture of a running lab marks what the kernel has otherwise; a trace's page has the packet that was sent."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.kernel.labkit import OwnLab, nslab

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnLab]:
    own = OwnLab(tmp_path_factory.mktemp("graph"))
    own.up()
    yield own
    own.down()


def drawn(lab: OwnLab, *options: str) -> str:
    done = nslab("graph", lab.name, "--live", *options)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def data(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page)
    assert found
    value: dict[str, Any] = json.loads(found[1])
    return value


def marked(lab: OwnLab) -> dict[tuple[str, str], list[str]]:
    """By host and interface, as the page has it."""
    shapes = data(drawn(lab, "-o", "html"))["shapes"]
    return {(one["host"], one["dev"]): one["marks"] for one in shapes if one["marks"]}


def test_a_lab_as_it_should_be_has_no_mark(lab: OwnLab) -> None:
    assert drawn(lab).endswith(f"\n\n{lab.name} is as it should be\n")
    assert marked(lab) == {}


def test_what_differs_is_marked_until_up_has_repaired_it(lab: OwnLab) -> None:
    lab.sh("node1", "ip route del 20.109.131.0/26")
    lab.sh("node2", "ip link set tunl0 mtu 1400; iptables -I FORWARD -s 192.0.2.1 -j DROP")
    lab.sh("pod-d", "ip addr del 20.109.131.3/32 dev eth0")
    found = marked(lab)
    assert {*found} == {("node1", "tunl0"), ("node2", "tunl0"), ("node2", ""), ("pod-d", "eth0")}
    told = [text for texts in found.values() for text in texts]
    differences = lab.differences()
    assert [line for line in differences if line not in told] == []
    assert "-s 192.0.2.1/32 -j DROP" in found["node2", ""][0]
    lines = drawn(lab).splitlines()
    assert [line.partition("── ")[2].split()[0] for line in lines if "(!)" in line and "──" in line] == ["pod-d"]
    lab.sh("node2", "iptables -D FORWARD -s 192.0.2.1 -j DROP")
    lab.up()
    assert marked(lab) == {}


def test_the_page_of_a_trace_has_the_packet_that_was_sent(lab: OwnLab) -> None:
    done = nslab("trace", lab.name, "pod-d", "svc-b", "-o", "html")
    assert (done.returncode, done.stderr) == (0, "")
    found = data(done.stdout)
    (journey,) = found["journeys"]
    assert (journey["end"], journey["target"]["service"]) == ("delivered", "default/svc-b")
    hops = journey["hops"]
    assert hops[0]["packet"]["sourcePort"] > 0
    shapes = [(found["shapes"][hop["at"]]["host"], found["shapes"][hop["at"]]["dev"]) for hop in hops]
    assert shapes[:4] == [("pod-d", "eth0"), ("node2", ""), ("node2", "tunl0"), ("node2", "eth0")]
    assert shapes[-1] == ("pod-d", "eth0")
    assert any("conntrack of node2" in line for line in journey["told"])


def test_open_gives_the_page_to_who_ran_sudo(lab: OwnLab) -> None:
    done = nslab(
        "trace", lab.name, "pod-d", "svc-b", "--open", env={**os.environ, "SUDO_UID": "65534", "DISPLAY": ":0"}
    )
    file = Path(done.stdout.removeprefix("wrote ").partition(";")[0])
    assert done.stdout == f"wrote {file}; to see it: xdg-open {file}\n", "root opens no browser"
    assert (file.stat().st_uid, file.stat().st_mode & 0o777) == (65534, 0o600)
    assert data(file.read_text())["lab"] == lab.name
    file.unlink()


def test_a_lost_packet_is_shown_to_where_it_ends(lab: OwnLab) -> None:
    lab.sh("node1", "iptables -I FORWARD -d 20.111.156.7 -j DROP")
    try:
        done = nslab("trace", lab.name, "pod-d", "pod-b", "-o", "html")
    finally:
        lab.sh("node1", "iptables -D FORWARD -d 20.111.156.7 -j DROP")
    assert done.returncode == 1
    found = data(done.stdout)
    (journey,) = found["journeys"]
    last = journey["hops"][-1]
    assert (journey["end"], last["action"], found["shapes"][last["at"]]["kind"]) == ("dropped", "drop", "router")
    assert any("-j DROP" in line for line in journey["told"])
