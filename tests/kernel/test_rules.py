"""`rules`: the tree, the counters and the shares say what the kernel counts, in each mode that runs here."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from nslab.linux.observe.place import is_safe_to_ask
from tests.kernel.labkit import IN_A_WORLD_OF_ITS_OWN, NSLAB, ROOT, OwnLab, nslab
from tests.kernel.test_legacy_iptables import LEGACY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.root
WEB, CALLS = "10.103.9.116", 8


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnLab]:
    made = OwnLab(tmp_path_factory.mktemp("rules"), "services-iptables")
    made.up()
    yield made
    made.clear()


def rules(lab: OwnLab, *options: str) -> dict[str, Any]:
    done = nslab("rules", lab.name, "node1", "-o", "json", *options)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def share(found: dict[str, Any], service: str = "default/web:http") -> dict[str, Any]:
    return next(one for one in found["services"] if one["service"] == service)


def client(lab: OwnLab) -> str:
    """A pod of node1."""
    pods = json.loads(nslab("ps", lab.name, "-o", "json").stdout)
    return str(next(pod["name"] for pod in pods if pod["node"] == "node1" and pod["name"].startswith("web")))


def test_shares_are_what_the_kernel_counts(lab: OwnLab) -> None:
    pod = client(lab)
    for _ in range(CALLS):
        assert lab.talks(pod, WEB, 80)
    ends = share(rules(lab))["endpoints"]
    assert sum(end["connections"] for end in ends) == CALLS
    assert [round(end["chance"], 3) for end in ends] == [0.25] * 4
    saved = lab.sh("node1", "iptables-save -c -t nat").splitlines()
    for end in ends:
        (line,) = (one for one in saved if f"--to-destination {end['address']}" in one and '"default/web:http"' in one)
        assert line.startswith(f"[{end['connections']}:")
    assert {end["pod"].partition("-")[0] for end in ends} == {"default/web"}


def test_a_rule_by_hand_stands_out(lab: OwnLab) -> None:
    lab.sh("node1", "iptables -I FORWARD -p sctp -j DROP")
    try:
        lines = nslab("rules", lab.name, "node1").stdout.splitlines()
    finally:
        lab.sh("node1", "iptables -D FORWARD -p sctp -j DROP")
    assert [line for line in lines if "-p sctp -j DROP  [not the lab's]" in line]
    assert [line for line in lines if "not the lab's" in line and "sctp" not in line] == []


def test_watching_shows_each_hit(lab: OwnLab) -> None:
    pod = client(lab)
    argv = [*NSLAB, "rules", lab.name, "node1", "--watch", "--service", "web", "-o", "json"]
    watching = subprocess.Popen(argv, stdout=-1, stderr=-1, text=True, cwd=ROOT)
    assert watching.stdout
    assert watching.stderr
    assert "watching the rules of node1" in watching.stderr.readline()
    assert lab.talks(pod, WEB, 80)
    hits = [json.loads(watching.stdout.readline())]
    assert (hits[0]["service"], hits[0]["packets"], hits[0]["table"]) == ("default/web:http", 1, "nat")
    while not _translated(hits):
        hits.append(json.loads(watching.stdout.readline()))
    watching.send_signal(signal.SIGINT)
    output, said = watching.communicate(timeout=30)
    assert (watching.returncode, said) == (0, "")
    assert len(_translated([*hits, *map(json.loads, output.splitlines())])) == 1


def _translated(hits: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [hit for hit in hits if "DNAT --to-destination" in hit["rule"]]


def test_what_is_not_there(lab: OwnLab) -> None:
    assert "did you mean node1?" in nslab("rules", lab.name, "node11").stderr
    assert "there is no Service wep; did you mean web?" in nslab("rules", lab.name, "node1", "--service", "wep").stderr


def test_nftables_mode_counts_by_conntrack(lab: OwnLab) -> None:
    assert nslab("set", lab.name, "proxy-mode=nftables").returncode == 0
    pod = client(lab)
    argv = [*NSLAB, "rules", lab.name, "node1", "--watch", "--service", "web", "-o", "json"]
    with subprocess.Popen(argv, stdout=-1, stderr=-1, text=True, cwd=ROOT) as watching:
        assert watching.stdout
        assert watching.stderr
        watching.stderr.readline()
        for _ in range(CALLS):
            assert lab.talks(pod, WEB, 80)
        hits = [json.loads(watching.stdout.readline()) for _ in range(CALLS)]
        watching.send_signal(signal.SIGINT)
    ends = {end["address"]: end for end in share(rules(lab))["endpoints"]}
    assert len(ends) == 4
    assert sum(end["connections"] for end in ends.values()) == CALLS
    assert [round(end["chance"], 2) for end in ends.values()] == [0.25] * 4
    drawn = [hit["connection"].rpartition(" => ")[2] for hit in hits]
    assert {address: drawn.count(address) for address in {*drawn}} == {
        address: end["connections"] for address, end in ends.items() if end["connections"]
    }


def test_a_rule_by_hand_in_a_chain_of_nft_stands_out(lab: OwnLab) -> None:
    lab.sh("node1", "nft insert rule ip kube-proxy services tcp dport 81 counter drop")
    lines = nslab("rules", lab.name, "node1").stdout.splitlines()
    assert ["tcp dport 81 counter drop  [not the lab's]" in line for line in lines if "not the lab's" in line] == [True]


def test_userspace_mode_names_the_portals(lab: OwnLab) -> None:
    assert nslab("set", lab.name, "proxy-mode=userspace").returncode == 0
    found = rules(lab, "--service", "web")
    assert {"KUBE-PORTALS-CONTAINER", "KUBE-PORTALS-HOST"} <= {chain["chain"] for chain in found["chains"]}
    assert [end["connections"] for end in share(found)["endpoints"]] == [None] * 4


@pytest.mark.skipif(
    not (os.path.exists("/etc/alternatives/iptables") and shutil.which("iptables-legacy")),
    reason="no iptables-legacy behind /etc/alternatives",
)
@pytest.mark.skipif(not is_safe_to_ask("ip_tables"), reason="this kernel has no ip_tables")
def test_legacy_counters(tmp_path: Path) -> None:
    pytest.importorskip("iptc")
    own = OwnLab(tmp_path)
    run = f"{sys.executable} -P -m nslab"
    lines = [
        f"{run} up {own.file}",
        f"ip netns exec {own.ns('pod-d')} curl -s http://10.103.9.116:8080/hostname",
        f"ip netns exec {own.ns('node2')} iptables-legacy-save -c -t nat >{tmp_path}/saved",
        f"{run} rules {own.name} node2 -o json >{tmp_path}/rules",
    ]
    script = f"choices={tmp_path}/choices\n{LEGACY}\ntrap '{run} down {own.file}' EXIT\n" + "\n".join(lines)
    done = subprocess.run([*IN_A_WORLD_OF_ITS_OWN, script], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "rules").read_text())
    (end,) = share(found, "default/svc-b")["endpoints"]
    assert (end["connections"], end["share"]) == (1, 1.0)
    counted = [line for line in (tmp_path / "saved").read_text().splitlines() if line.startswith("[")]
    rows = {f"-A {chain['chain']}": chain["rules"] for chain in found["chains"] if chain["table"] == "nat"}
    assert sum(map(len, rows.values())) == len(counted)
    assert sum(row["packets"] for row in rows["-A KUBE-SVC-5SXAMWEMC7JSPKWY"]) == 1
