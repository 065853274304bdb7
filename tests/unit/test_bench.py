"""The parts of scripts/bench that measure nothing: what it prints, and the shell's way to the same lab."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

# Tests are imported by their path (importlib), so what they test must be on the path itself.
sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from benchmarks import labs
from benchmarks.application import MANIFEST, without_init
from benchmarks.build import plan_of
from benchmarks.figures import Figure, Group, amount, document, ratio, table
from benchmarks.machine import memory
from benchmarks.mininet import description
from benchmarks.shellway import inside, script
from benchmarks.stage import SERVER, cluster_ip, moved, services
from benchmarks.trace import lost

from nslab.admission.load import load, parse
from nslab.objects.namespaces import Netns
from nslab.objects.needs import FULL
from nslab.objects.process import Process
from nslab.objects.script import commands

if TYPE_CHECKING:
    from nslab.objects.plan import Plan


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    file = tmp_path / "lab.yaml"
    file.write_text(labs.small("bench"))
    return plan_of(file, Process, FULL)


def test_a_table_says_median_spread_and_whether_the_target_was_reached() -> None:
    up = Figure("nslab up", (300.0, 280.0, 1310.0), below=500)
    down = Figure("nslab down", (90.0,), below=50)
    other = Figure("mininet", (), note="not installed")
    assert table("Linux 6", [Group("small", (up, down, other))]).splitlines() == [
        "Linux 6",
        "",
        "                     median    least     most     target",
        "",
        "small",
        "  nslab up           300 ms   280 ms   1.31 s   < 500 ms  reached",
        "  nslab down        90.0 ms  90.0 ms  90.0 ms  < 50.0 ms  missed",
        "  mininet     not installed",
    ]


def test_a_ratio_is_taken_pair_by_pair() -> None:
    ours, theirs = Figure("", (10.0, 20.0, 90.0)), Figure("", (20.0, 40.0, 60.0))
    found = ratio("ours / theirs", ours, theirs, 1)
    assert (found.samples, found.median, found.verdict) == ((0.5, 0.5, 1.5), 0.5, "reached")


def test_a_ratio_to_what_was_not_measured_has_its_reason() -> None:
    found = ratio("", Figure("", (1.0,)), Figure("", (), note="not installed"), 1)
    assert (found.median, found.verdict, found.note) == (None, "", "not installed")


def test_amounts_have_the_digits_that_count() -> None:
    output = [amount(value, unit) for value, unit in ((12.34, "ms"), (999.6, "ms"), (1234, "ms"), (0.256, "x"))]
    assert output == ["12.3 ms", "1,000 ms", "1.23 s", "0.26 x"]
    assert amount(6543.2, "Mbit/s") == "6,543 Mbit/s"


def test_json_has_every_sample() -> None:
    found = document("Linux 6", [Group("small", (Figure("up", (1.0, 3.0), below=2),))])
    assert found["machine"] == "Linux 6"
    (row,) = found["figures"]
    assert (row["group"], row["median"], row["samples"], row["verdict"]) == ("small", 2.0, [1.0, 3.0], "reached")


def test_memory_is_read_by_name() -> None:
    assert memory("MemTotal:  1000 kB\nHugePages_Total:   0\nSlab:\t20 kB\n") == {"MemTotal": 1000, "Slab": 20}


@pytest.mark.parametrize(
    ("said", "number"),
    [
        ("10000 packets; none lost\n", 0),
        ("10000 packets, and 12 of them lost: nobody read them in time\n", 12),
        ("10000 packets captured\n10034 packets received by filter\n0 packets dropped by kernel\n", 0),
        ("9000 packets captured\n10000 packets received by filter\n1000 packets dropped by kernel\n", 1000),
    ],
)
def test_a_capture_says_what_it_lost(said: str, number: int) -> None:
    assert lost(said) == number


def test_the_large_lab_is_a_lab(tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text(labs.large("bench", nodes=3, pods=7))
    lab = load(file)
    assert [len([pod for pod in lab.pods if pod.node == node.name]) for node in lab.nodes] == [3, 2, 2]


def test_the_shells_way_is_one_batch_a_namespace(plan: Plan) -> None:
    files = script(plan, "/tmp/x")
    build = files["build"].splitlines()
    assert build[:5] == [
        "set -e",
        "ip -batch /tmp/x/names",
        "ip -n nslab.bench.control -batch /tmp/x/nslab.bench.control.ip",
        "ip -n nslab.bench.switch -batch /tmp/x/nslab.bench.switch.ip",
        "ip -n nslab.bench.node1 -batch /tmp/x/nslab.bench.node1.ip",
    ]
    assert build[-2:] == [
        "nsenter --net=/run/netns/nslab.bench.node2 sh -e /tmp/x/nslab.bench.node2.inside &",
        "wait",
    ]
    assert len([line for line in build if line.startswith("ip ")]) == 1 + 10
    assert files["names"].count("netns add nslab.bench.") == 10


def test_a_nodes_settings_sets_and_rules_are_one_script(plan: Plan) -> None:
    files = script(plan, "/tmp/x")
    lines = files["nslab.bench.node1.inside"].splitlines()
    assert lines[0] == "echo 1 >/proc/sys/net/ipv4/ip_forward"
    assert lines[-2:] == [
        "ipset restore </tmp/x/nslab.bench.node1.sets",
        "iptables-restore --noflush </tmp/x/nslab.bench.node1.rules",
    ]
    tables = [line for line in files["nslab.bench.node1.rules"].splitlines() if line.startswith("*")]
    assert tables == ["*filter", "*nat", "*mangle", "*raw"]


def test_nothing_of_the_plan_is_left_out(plan: Plan) -> None:
    steps = {ns: inside(plan, ns) for ns in {step.obj.ns for step in plan}}
    output = sum(
        len((part.ip + part.bridge + part.settings + part.sets).splitlines())
        + len([line for line in part.rules.splitlines() if line[0] in ":-"])
        for part in steps.values()
    )
    assert output == sum(len(commands(step)) for step in plan if not isinstance(step.obj, Netns))


def test_mininet_makes_the_cables_and_the_rest_is_a_script(plan: Plan, tmp_path: Path) -> None:
    described = description(plan, str(tmp_path), "iptables")
    assert described["hosts"][:4] == ["control", "switch", "node1", "node2"]
    assert described["links"][0][:4] == ["switch", "node1", "node1", "eth0"]
    assert described["pods"] == ["pod-a", "pod-b", "pod-c", "pod-d"]
    assert (tmp_path / "nslab.bench.pod-a.ip").read_text().splitlines()[:2] == [
        "link set eth0 mtu 1480",
        "link set lo up",
    ]
    assert described["commands"]["node1"] == f". {tmp_path}/nslab.bench.node1.inside"


def test_the_services_that_are_measured() -> None:
    found = services(1000)
    addresses = {end.ip for service in found for port in service.ports for end in port.endpoints}
    assert (len({service.cluster_ip for service in found}), len(addresses)) == (1000, 2000)
    assert [end.ip for end in found[-1].ports[0].endpoints] == [*SERVER]
    assert found[-1].cluster_ip == cluster_ip(999)
    assert sorted(found, key=lambda service: service.key) == found  # so the last one's rules are the last


def test_a_change_is_one_endpoint() -> None:
    old = services(10)[5]
    new, newer = moved(old, 0), moved(old, 1)
    assert len({old, new, newer}) == 3
    for service in (new, newer):
        (port,), (was,) = service.ports, old.ports
        assert [one == other for one, other in zip(port.endpoints, was.endpoints, strict=True)] == [True, False]


def test_an_application_without_its_init_containers_is_the_same_otherwise() -> None:
    text = MANIFEST.read_text()
    whole, without = parse(text, "x"), parse(without_init(text), "x")
    assert [pod.name.partition("-")[0] for pod in whole.pods] == [pod.name.partition("-")[0] for pod in without.pods]
    assert (sum(len(pod.init) for pod in whole.pods), sum(len(pod.init) for pod in without.pods)) == (1, 0)
