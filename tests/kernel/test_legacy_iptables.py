"""A lab on a machine whose `iptables` is the legacy variant: its rules are there, and strangers of both are found.

The choice is /etc/alternatives, of which the test has its own in a mount namespace.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from nslab.linux.observe.place import is_safe_to_ask
from tests.kernel.labkit import IN_A_WORLD_OF_ITS_OWN, ROOT, OwnLab
from tests.kernel.strangers import Stranger

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(
        not (os.path.exists("/etc/alternatives/iptables") and shutil.which("iptables-legacy")),
        reason="no iptables-legacy behind /etc/alternatives",
    ),
    pytest.mark.skipif(not is_safe_to_ask("ip_tables"), reason="this kernel has no ip_tables"),
]

LEGACY = """
mkdir $choices
cp -a /etc/alternatives/. $choices
for name in iptables ip6tables; do
    for verb in "" -save -restore; do ln -sf $(command -v $name-legacy$verb) $choices/$name$verb; done
done
mount --bind $choices /etc/alternatives
"""


OTHERS = (
    Stranger(
        "iptables", "node1", "iptables -A INPUT -s 1.2.3.4 -j DROP", "iptables -t filter -A INPUT -s 1.2.3.4/32 -j DROP"
    ),
    Stranger("iptables", "node1", "iptables -N MINE", "iptables -t filter -N MINE"),
    Stranger("iptables", "pod-b", "ip6tables -P INPUT DROP", "ip6tables -t filter -P INPUT DROP"),
    Stranger(
        "iptables",
        "node2",
        "iptables-nft -A FORWARD -s 1.2.3.4 -j DROP",
        "iptables-nft -t filter -A FORWARD -s 1.2.3.4/32 -j DROP",
    ),
    Stranger("nft tables", "client", "nft add table inet rogue", "nft table inet rogue"),
)
OURS = (
    Stranger(
        "iptables",
        "node1",
        "iptables -P FORWARD DROP",
        "node1's chain FORWARD (table filter) has policy DROP instead of ACCEPT",
    ),
    Stranger(
        "iptables",
        "node2",
        "iptables -t nat -F KUBE-SERVICES",
        "node2's chain KUBE-SERVICES (table nat) lacks 4 rules",
    ),
)


def test_strangers_of_both_variants(tmp_path: Path) -> None:
    own = OwnLab(tmp_path)
    nslab = f"{sys.executable} -P -m nslab"
    lines = [
        f"{nslab} up {own.file} >{tmp_path}/up",
        f"for host in node1 node2; do ip netns exec {own.ns('$host')} iptables-nft-save; done >{tmp_path}/nft",
        f"ip netns exec {own.ns('node1')} iptables-legacy-save -t nat >{tmp_path}/legacy",
        f"{nslab} diff {own.name} -o json >{tmp_path}/fresh",
        *(f"ip netns exec {own.ns(one.host)} {one.command}" for one in (*OTHERS, *OURS)),
        f"{nslab} diff {own.name} -o json >{tmp_path}/strange || test $? = 1",
        f"{nslab} up {own.name} --reset --yes >{tmp_path}/reset",
        f"{nslab} diff {own.name} -o json >{tmp_path}/after",
        f"{nslab} probe {own.name} >{tmp_path}/probe",
    ]
    script = f"choices={tmp_path}/choices\n{LEGACY}\ntrap '{nslab} down {own.file}' EXIT\n" + "\n".join(lines)
    done = subprocess.run([*IN_A_WORLD_OF_ITS_OWN, script], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr

    assert "-A KUBE-SERVICES" in (tmp_path / "legacy").read_text()
    assert "KUBE" not in (tmp_path / "nft").read_text()
    assert _said(tmp_path / "fresh") == ([], {})
    differences, strange = _said(tmp_path / "strange")
    expected = [one.named for one in OURS]
    assert [line[: len(named)] for line, named in zip(sorted(differences), expected, strict=True)] == expected
    others: dict[str, list[str]] = {}
    for one in OTHERS:
        others.setdefault(own.ns(one.host), []).append(one.named)
    assert strange == others
    assert _said(tmp_path / "after") == ([], {})


def test_its_rules_are_traced(tmp_path: Path) -> None:
    own = OwnLab(tmp_path)
    nslab, node1 = f"{sys.executable} -P -m nslab", f"ip netns exec {own.ns('node1')}"
    trace = f"{nslab} trace {own.name} pod-d svc-b -o json"
    kernel = f"{node1} iptables-legacy-save | grep -v '^[#:]'; {node1} cat /proc/sys/net/netfilter/nf_log/2"
    lines = [
        f"{nslab} up {own.file} >{tmp_path}/up",
        f"({kernel}) >{tmp_path}/before",
        f"{trace} >{tmp_path}/trace",
        f"({kernel}) >{tmp_path}/between",
        f"{node1} iptables -I FORWARD -p tcp --dport 8080 -j DROP",
        f"{trace} >{tmp_path}/dropped || test $? = 1",
        f"({trace} >/dev/null & echo $! >{tmp_path}/pid; wait) &",
        f"until {node1} iptables-legacy-save -t raw | grep -q TRACE; do :; done",
        f"kill -9 $(cat {tmp_path}/pid); wait",
        f"{node1} iptables-legacy-save -t raw >{tmp_path}/left",
        f"{trace} >{tmp_path}/again || test $? = 1",
        f"{node1} iptables -D FORWARD 1",
        f"({kernel}) >{tmp_path}/after",
        f"{nslab} diff {own.name} -o json >{tmp_path}/diff",
    ]
    script = f"choices={tmp_path}/choices\n{LEGACY}\ntrap '{nslab} down {own.file}' EXIT\n" + "\n".join(lines)
    done = subprocess.run([*IN_A_WORLD_OF_ITS_OWN, script], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr

    journey = json.loads((tmp_path / "trace").read_text())
    assert (journey["end"], journey["deviation"], journey["notes"]) == ("delivered", "", [])
    [translated] = [hop for hop in journey["hops"] if hop["action"] == "DNAT"]
    assert translated["by"] == "kube-proxy"
    assert [rule["chain"][:8] for rule in translated["rules"]] == [
        "PREROUTI", "cali-PRE", "PREROUTI", "KUBE-SER", "KUBE-SVC", "KUBE-SEP",
    ]  # fmt: skip
    assert "-j DNAT --to-destination" in translated["rules"][-1]["rule"]
    for name in ("dropped", "again"):
        dropped = json.loads((tmp_path / name).read_text())
        assert dropped["end"] == "dropped"
        assert dropped["why"].startswith("node1 drops it by filter FORWARD: -p tcp -m tcp --dport 8080 -j DROP")
    assert "TRACE" in (tmp_path / "left").read_text()
    before = (tmp_path / "before").read_text()
    assert (tmp_path / "between").read_text().replace("COMMIT\n", "") == before.replace("COMMIT\n", "")
    assert (tmp_path / "after").read_text().replace("COMMIT\n", "") == before.replace("COMMIT\n", "")
    assert _said(tmp_path / "diff") == ([], {})


def _said(file: Path) -> tuple[list[str], dict[str, Any]]:
    """The differences, and what is not the lab's, by namespace."""
    found = json.loads(file.read_text())
    return found["differences"], found.get("unmanaged", {})
