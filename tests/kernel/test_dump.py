"""`trace --dump` on dumps of labs' own hosts computes what `--predict` computes of the lab's State, hop by hop."""

from __future__ import annotations

import os
import re
import subprocess
from itertools import product, zip_longest
from typing import TYPE_CHECKING

import pytest

from nslab.api.pod_types import Protocol
from nslab.app.dumps import dumped_hosts, script, trace_dumps
from nslab.app.predict import predict
from nslab.app.trace import trace
from nslab.compiler import compile_lab
from nslab.lab.find import names
from nslab.lab.types import Encapsulation
from nslab.objects.names import CONTROL, SWITCH, host, pod_host
from nslab.objects.needs import FULL
from nslab.probes import places
from nslab.probes.probe import Kind
from nslab.ruletext.iptables import TABLES
from nslab.trace.hops import Action, End
from tests.kernel.dumpkit import take
from tests.kernel.labkit import NSLAB, OwnLab

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence
    from pathlib import Path

    from nslab.lab.types import Lab
    from nslab.trace.dump.host import DumpedHost
    from nslab.trace.hops import Hop, Journey

SLOW = os.environ.get("NSLAB_SLOW") == "1"
QUICK = [
    ("calico-two-node", Encapsulation.VXLAN), ("calico-cross-subnet", None), ("kubenet-two-node", None),
    ("services-nftables", None),
]  # fmt: skip
EVERY = [
    *((name, None) for name in names() if not name.startswith("by-hand") and "ipvs" not in name),
    *(("calico-two-node", encapsulation) for encapsulation in Encapsulation),
    *(("calico-cross-subnet", encapsulation) for encapsulation in Encapsulation),
]
MOST = 200 if SLOW else 24
"""The maximum number of questions to a lab, spread over all."""


@pytest.mark.parametrize(("shipped", "encapsulation"), EVERY if SLOW else QUICK)
def test_the_dumps_of_a_lab_predict_what_its_state_does(
    shipped: str, encapsulation: Encapsulation | None, tmp_path: Path
) -> None:
    own = OwnLab(tmp_path, shipped)
    try:
        lab = own.lab(encapsulation)
        own.up_here(encapsulation)
        hosts = sorted({host(obj.ns) for obj in compile_lab(lab, FULL) if obj.ns} - {CONTROL})
        dumps = dumped_hosts(take(own, hosts, tmp_path))
        every = [*questions(lab)]
        asked = every[:: len(every) // MOST + 1]
        for sender, word, to, kind in asked:
            expected = predict(lab.name, sender, word, kind)
            found = trace_dumps(dumps, sender, to, kind)
            if End.REFUSED in {one.end for one in found}:  # the State does not say who listens
                continue
            pairs = zip(sorted(map(told, found)), sorted(map(told, expected)), strict=True)
            assert [[*unlike(*pair)] for pair in pairs] == [[]] * len(found), (sender, word)
            assert not [note for one in found for note in one.notes if "has such a connection already" not in note]
            assert without_pods(lab, dumps, expected, sender, to, kind) == []
    finally:
        own.clear()


def without_pods(
    lab: Lab, dumps: Sequence[DumpedHost], expected: Sequence[Journey], sender: str, to: str, kind: Kind
) -> list[str]:
    """What of the nodes' hops differs if there are no dumps of pods: their ways tell where packets come in and go."""
    pods = {pod_host(pod.namespace, pod.name): pod.assigned for pod in lab.pods}
    nodes = {node.name for node in lab.nodes}
    begin = str(pods.get(sender, sender))
    if to.partition(":")[0] == begin:  # no node sees that
        return []
    found = trace_dumps([dump for dump in dumps if dump.name not in pods], begin, to, kind)
    if len(found) != len(expected):
        return [f"{len(found)} instead of {len(expected)}"]
    own, other = (sorted([told_of_nodes(one, nodes) for one in every]) for every in (found, expected))
    return [f"{a}\n{b}" for a, b in zip(own, other, strict=True) if a != b]


def told_of_nodes(journey: Journey, nodes: Container[str]) -> list[str]:
    hops = [hop for hop in journey.hops if hop.host in nodes and hop.action is not Action.ENTER]
    return [repr(hop_told(hop, loops=any(one.dev == "lo" for one in hops))) for hop in hops]


def questions(lab: Lab) -> Iterator[tuple[str, str, str, Kind]]:
    """Who sends, to what as the lab and as a dump names it, and by which protocol."""
    hosts = [place.name for place in places(lab)]
    kinds = {Protocol.TCP: Kind.TCP, Protocol.UDP: Kind.UDP}
    ports = [(service, port) for service in lab.services for port in service.ports if port.protocol in kinds]
    ends = [
        *((f"{place.name}:8080", f"{place.address}:8080", Kind.TCP) for place in places(lab)),
        *(
            (
                f"{service.namespace}/{service.name}:{port.port}",
                f"{service.cluster_ip}:{port.port}",
                kinds[port.protocol],
            )
            for service, port in ports
            if service.cluster_ip
        ),
        *(
            (f"{node.address}:{port.node_port}", f"{node.address}:{port.node_port}", kinds[port.protocol])
            for node, (_, port) in product(lab.nodes, ports)
            if port.node_port
        ),
        *((place.name, f"{place.address}", Kind.ICMP) for place in places(lab)),
    ]
    for sender, (word, to, kind) in product(hosts, ends):
        yield sender, word, to, kind


def told(journey: Journey) -> list[str]:
    """What a journey has in common with the other one, as text that sorts."""
    loops = any(hop.dev == "lo" for hop in journey.hops)
    hops = [hop for hop in journey.hops if (hop.host, hop.action) != (SWITCH, Action.BRIDGE)]
    return [*(repr(hop_told(hop, loops=loops)) for hop in hops), f"{journey.end} {journey.chance}"]


def unlike(one: list[str], other: list[str]) -> Iterator[str]:
    """The hops in which two journeys differ."""
    yield from (f"{a}\n{b}" for a, b in zip_longest(one, other) if a != b)


def hop_told(hop: Hop, *, loops: bool) -> tuple[object, ...]:
    """The State has no MTU for lo, and nft's rules as they are written, not listed.

    A dump knows a bridge's port only if the bridge has learned who is behind it.
    """
    bridged = hop.action is Action.BRIDGE or hop.dev.startswith(("veth", "cbr0"))
    where = () if bridged else (hop.dev, hop.cause, 0 if loops else hop.mtu)
    rules = [(one.table, one.chain, one.rule * (one.table in TABLES), one.comment) for one in hop.matches]
    return hop.host, hop.action, hop.reply, hop.header, hop.before, hop.outer, where, rules, hop.mark


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnLab]:
    made = OwnLab(tmp_path_factory.mktemp("dump"))
    try:
        made.up_here()
        yield made
    finally:
        made.clear()


def test_nodes_without_their_pods(lab: OwnLab, tmp_path: Path) -> None:
    """Where a pod's packet comes in, and what a node hands to a pod, its routes tell."""
    dumps = dumped_hosts(take(lab, ("node1", "node2"), tmp_path))
    (journey,) = trace_dumps(dumps, "20.109.131.3", "10.103.9.116:8080")
    (whole,) = predict(lab.name, "pod-d", "svc-b")
    nodes = [hop for hop in whole.hops if hop.host in ("node1", "node2")]
    seen = [hop_told(hop, loops=False) for hop in journey.hops]
    assert journey.hops[0].action is Action.ENTER
    assert seen[1:] == [hop_told(hop, loops=False) for hop in nodes]
    assert journey.target.service == "default/svc-b"
    assert journey.end is End.LEFT
    assert re.fullmatch(
        r"leaves node1 by cali\w+ towards 20\.111\.156\.7, of which there is no dump; "
        r"the reply leaves node2 by cali\w+ towards 20\.109\.131\.3, of which there is no dump",
        journey.why,
    )
    assert {hop.by for hop in journey.hops} >= {"kube-proxy", "BIRD", "kernel"}


def test_a_gateway_without_a_dump(lab: OwnLab, tmp_path: Path) -> None:
    (journey,) = trace_dumps(dumped_hosts(take(lab, ("node1",), tmp_path)), "node1", "192.0.2.7:80")
    assert (journey.end, journey.why) == (
        End.LEFT, "leaves node1 by eth0 towards 192.168.59.1, of which there is no dump",
    )  # fmt: skip


MESSES = {
    "a rule": ("node1", "iptables -I FORWARD -d 20.111.156.7 -j DROP", "iptables -D FORWARD -d 20.111.156.7 -j DROP"),
    "a reject": (
        "node2", "iptables -t filter -I FORWARD -p tcp -m multiport --dports 80,8080 -j REJECT",
        "iptables -t filter -D FORWARD -p tcp -m multiport --dports 80,8080 -j REJECT",
    ),
    "a blackhole": ("node2", "ip route add blackhole 20.111.156.7", "ip route del blackhole 20.111.156.7"),
    "a rule of routing": (
        "node2", "ip rule add to 20.111.156.0/24 pref 7 prohibit", "ip rule del to 20.111.156.0/24 pref 7 prohibit",
    ),
    "another table": (
        "node2", "ip rule add iif tunl0 pref 7 table 7; ip route add unreachable default table 7",
        "ip rule del iif tunl0 pref 7 table 7; ip route flush table 7",
    ),
    "no forwarding": ("node1", "sysctl -qw net.ipv4.ip_forward=0", "sysctl -qw net.ipv4.ip_forward=1"),
    "rp_filter": (
        "node1", ("ip rule add to 20.109.131.3 pref 8 table 8; ip route add default via 192.168.59.1 table 8; "
         "sysctl -qw net.ipv4.conf.tunl0.rp_filter=1"),
        "ip rule del to 20.109.131.3 pref 8; ip route flush table 8; sysctl -qw net.ipv4.conf.tunl0.rp_filter=0",
    ),
    "nft": (
        "node1", ("nft add table inet hand; nft add chain inet hand c '{ type filter hook forward priority 5; }'; "
         "nft add rule inet hand c ip daddr 20.111.156.0/24 tcp dport 8080 drop"),
        "nft delete table inet hand",
    ),
    "SNAT": (
        "node2", "iptables -t nat -I POSTROUTING -s 20.109.131.3 -j SNAT --to-source 192.168.59.23",
        "iptables -t nat -D POSTROUTING -s 20.109.131.3 -j SNAT --to-source 192.168.59.23",
    ),
}  # fmt: skip
"""What somebody does to a node by hand, and how it is undone."""


@pytest.mark.parametrize("mess", MESSES if SLOW else ["a reject", "another table", "nft", "SNAT"])
def test_what_a_dump_predicts_of_a_mess_is_what_a_packet_meets(mess: str, lab: OwnLab, tmp_path: Path) -> None:
    node, made, undone = MESSES[mess]
    lab.sh(node, made)
    try:
        dumps = dumped_hosts(take(lab, ("node1", "node2", "pod-b", "pod-d"), tmp_path))
        (journey,) = trace_dumps(dumps, "pod-d", "10.103.9.116:8080")
        seen = trace(lab.name, "pod-d", "svc-b")
        assert met(journey) == met(seen), journey.why
    finally:
        lab.sh(node, undone)


def met(journey: Journey) -> tuple[object, ...]:
    """Where a packet was and what it looked like there, and how that ended, as far as a packet shows it."""
    lost = (End.LOST, End.UNREACHABLE)
    return (
        "lost" if journey.end in lost else journey.end,
        [
            (hop.host, hop.action, hop.reply, hop.header.source, hop.header.target, hop.outer and hop.outer.target)
            for hop in journey.hops
            if not (journey.end in lost and hop.action in (Action.LOST, Action.RECEIVE))
            and hop.header.protocol == journey.hops[0].header.protocol  # an ICMP error is not predicted
        ],
    )


def test_as_a_person_takes_and_reads_it(lab: OwnLab, tmp_path: Path) -> None:
    """By standard output into tar; nothing of the node differs afterwards, not even its modules."""
    before = state_of(lab, "node1")
    line = f"{' '.join(NSLAB)} dump-node | {' '.join(NSLAB)} exec {lab.name}/node1 -- sh | tar -C {tmp_path} -x"
    subprocess.run(["bash", "-o", "pipefail", "-c", line], check=True, timeout=60)
    assert state_of(lab, "node1") == before
    folder = tmp_path / "nslab-dump-node1"
    assert {"addr.json", "route.json", "iptables-save", "hostname"} <= {file.name for file in folder.iterdir()}
    done = subprocess.run(
        [*NSLAB, "trace", "--dump", str(folder), "node1", "20.111.156.7:8080", "--no-reply"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "of which there is no dump" in done.stdout
    assert "ip netns" not in done.stdout


def state_of(lab: OwnLab, node: str) -> str:
    """What the kernel has there, without counters."""
    said = lab.sh(node, "iptables-save; ipset save; nft list tables; ip -4 addr; ip -4 route show table all; ip rule")
    return (
        re.sub(r"\[\d+:\d+\]|#.*", "", said)
        + subprocess.run(["cat", "/proc/modules"], capture_output=True, text=True).stdout
    )


@pytest.mark.parametrize("shell", ["dash", "busybox sh"])
def test_a_node_with_nothing_but_a_shell(shell: str, tmp_path: Path) -> None:
    """Each program that is not there is named, and nothing fails."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("uname", "tr", "mkdir", "cat", "id", "rm", "head", "grep"):
        (programs / name).symlink_to("/usr/bin/busybox")
    file = tmp_path / "dump-node.sh"
    file.write_text(re.sub(r"(?m)^PATH=.*$", f"PATH={programs}", script()))
    done = subprocess.run(
        [*shell.split(), str(file), str(tmp_path / "out")], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    notes = (tmp_path / "out" / "notes").read_text()
    assert {"iptables-save: there is no iptables-save", "addr.json: there is no ip"} <= {*notes.split("\n")}
