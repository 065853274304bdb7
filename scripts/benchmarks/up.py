"""`scripts/bench up`: build and remove labs, with nslab and with other tools.

The compared ways take turns, A B C, then C B A, each after the kernel's background cleanup.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks import labs, mininet, streams
from benchmarks.build import build, plan_of
from benchmarks.figures import Figure, Group, ratio
from benchmarks.machine import available, private, tidied
from nslab.linux import owned
from nslab.linux.netns import Namespaces
from nslab.linux.observe.host import read_host
from nslab.objects.names import netns
from nslab.objects.process import Process

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PODS = 1000
ROOT = Path(__file__).parents[2]
Samples = defaultdict[str, list[float]]


def measure(rounds: int, say: Callable[[str], None]) -> list[Group]:
    """Measure all figures of `up`."""
    mark = f"bench-{os.getpid()}"
    with tempfile.TemporaryDirectory(prefix="nslab-bench-") as folder:
        try:
            return [
                *_small(Path(folder), mark, rounds, say),
                _verbs(rounds, say),
                _large(Path(folder), mark, rounds, say),
                _throughput(Path(folder), mark, rounds, say),
            ]
        finally:
            for lab in (mark, f"{mark}-ipip", f"{mark}-vxlan"):
                owned.release(lab)


def program(*argv: str, expected: Sequence[int] = (0,)) -> tuple[float, str]:
    """Run a Python program; return its milliseconds from start to exit, and its output."""
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-P", "-m", *argv], capture_output=True, text=True, cwd=ROOT, check=False)
    spent = (time.perf_counter() - started) * 1000
    if done.returncode not in expected:
        sys.exit(f"{' '.join(argv)} failed:\n{done.stderr}")
    return spent, done.stdout


def _small(folder: Path, lab: str, rounds: int, say: Callable[[str], None]) -> list[Group]:
    file = folder / "small.yaml"
    file.write_text(labs.small(lab))
    samples: Samples = defaultdict(list)

    def whole() -> None:
        samples["up"].append(program("nslab", "up", str(file))[0])
        samples["down"].append(program("nslab", "down", lab)[0])

    def ours() -> None:
        samples["build"].append(build(file, lab, Process)["apply"])
        started = time.perf_counter()
        owned.release(lab)
        samples["release"].append((time.perf_counter() - started) * 1000)

    def script() -> None:
        samples["script"].append(json.loads(program("benchmarks.shellway", str(file), lab, *check)[1])["apply"])

    def theirs() -> None:
        for name, value in mininet.run(described).items():
            samples[f"mininet {name}"].append(value)

    ways = [whole, ours, script]
    note = "not installed"
    described = folder / "mininet.json"
    if mininet.installed():
        ways, note = [*ways, theirs], ""
        with Namespaces() as spaces:
            host = read_host(spaces)
        described.write_text(json.dumps(mininet.description(plan_of(file, Process, host), str(folder), host.iptables)))
    for number in range(rounds + 1):
        say(f"calico-two-node, round {number} of {rounds}" if number else "calico-two-node: warming up, and checking")
        check = [] if number else ["--check"]
        for way in ways if number % 2 else reversed(ways):
            tidied()
            way()
        if not number:
            samples.clear()

    def row(name: str, key: str, below: float | None = None) -> Figure:
        return Figure(name, tuple(samples[key]), below=below, note=note if key.startswith("mininet") else "")

    up, built, shell, other = row("", "up"), row("", "build"), row("", "script"), row("", "mininet answering")
    return [
        Group(
            "calico-two-node, the whole process: from its start until its pods answer",
            (
                row("nslab up", "up", 500),
                row("nslab down", "down"),
                row("mininet, a Python HTTP server in each pod", "mininet answering"),
                row("mininet, nothing in the pods", "mininet whole"),
                ratio("nslab up / mininet with servers", up, other, 0.5),
                ratio("nslab up, pods answering / mininet, nothing in the pods", up, row("", "mininet whole")),
            ),
        ),
        Group(
            "calico-two-node, the topology alone: no processes in it, and nothing but building it counted",
            (
                row("nslab", "build"),
                row("ip -batch, a call a namespace", "script"),
                row("mininet, nodes, links, a script a node", "mininet build"),
                ratio("nslab / ip -batch", built, shell, 1),
                ratio("nslab / mininet", built, row("", "mininet build")),
                row("nslab: taking it away", "release"),
            ),
        ),
    ]


def _verbs(rounds: int, say: Callable[[str], None]) -> Group:
    say("nslab --help, nslab plan")
    samples: Samples = defaultdict(list)
    for _ in range(rounds):
        samples["help"].append(program("nslab", "--help")[0])
        samples["plan"].append(program("nslab", "plan", "calico-two-node")[0])
    return Group(
        "the whole process of what touches nothing",
        (
            Figure("nslab --help", tuple(samples["help"]), below=200),
            Figure("nslab plan calico-two-node", tuple(samples["plan"]), below=350),
        ),
    )


def _large(folder: Path, lab: str, rounds: int, say: Callable[[str], None]) -> Group:
    file = folder / "large.yaml"
    file.write_text(labs.large(lab, 20, PODS))
    samples: Samples = defaultdict(list)
    for number in range(rounds):
        for without in ("processes", "containers"):
            say(f"{PODS} pods without {without}, round {number + 1} of {rounds}")
            tidied()
            before = available()
            spent, shown = program("benchmarks.build", str(file), lab, "--without", without)
            after = available()
            kernel = sum(after[kind] - before[kind] for kind in ("Slab", "Percpu", "KernelStack", "PageTables"))
            taken = before["MemAvailable"] - after["MemAvailable"]
            samples[f"up {without}"].append(spent)
            samples[f"apply {without}"].append(json.loads(shown)["apply"])
            samples[f"memory {without}"].append(taken / PODS)
            samples[f"kernel {without}"].append(kernel / PODS)
            if without == "containers":
                samples["pause"].append(median(private(lab, "pause")))
            started = time.perf_counter()
            samples[f"down {without}"].append(program("nslab", "down", lab)[0])
            tidied()
            samples[f"tidy {without}"].append((time.perf_counter() - started) * 1000)

    def row(name: str, key: str, unit: str = "ms", below: float | None = None) -> Figure:
        return Figure(name, tuple(samples[key]), unit, below)

    figures = []
    for title, without in (("topology", "processes"), ("with pause", "containers")):
        figures += [
            row(f"{title}: up, the whole process", f"up {without}", below=5000),
            row(f"{title}: of it, in the kernel's transactions", f"apply {without}"),
            row(f"{title}: nslab down, the whole process", f"down {without}", below=2000),
            row(f"{title}: until the kernel has tidied up as well", f"tidy {without}"),
            row(f"{title}: memory a pod (fall of MemAvailable)", f"memory {without}", "kB"),
            row(f"{title}: the kernel's part (slab, per-cpu, stacks, tables)", f"kernel {without}", "kB"),
        ]
    figures.append(row("private memory of a pause process", "pause", "kB"))
    return Group(f"{PODS} pods on 20 nodes, IPIP, IPv6 link-local left on, no application processes", tuple(figures))


def _throughput(folder: Path, lab: str, rounds: int, say: Callable[[str], None]) -> Group:
    kinds = {"IPIP": f"{lab}-ipip", "VXLAN": f"{lab}-vxlan"}
    samples: Samples = defaultdict(list)
    with Namespaces() as spaces:
        driver = read_host(spaces).ipip
    for encapsulation, name in kinds.items():
        file = folder / f"{name}.yaml"
        file.write_text(labs.small(name))
        program("nslab", "up", str(file), "--encapsulation", encapsulation)
    for number in range(rounds):
        say(f"a TCP stream, round {number + 1} of {rounds}")
        for encapsulation, name in kinds.items():
            pods = netns(name, "pod-b"), netns(name, "pod-d")
            samples[encapsulation].append(streams.megabits(*pods, "20.109.131.3", seconds=1.0))
    for name in kinds.values():
        program("nslab", "down", name)
    how = "the kernel's driver" if driver else "the stand-in process"
    return Group(
        "one TCP stream between pods of two nodes, sender and receiver in Python",
        (
            Figure(f"IPIP, {how}", tuple(samples["IPIP"]), "Mbit/s"),
            Figure("VXLAN, the kernel's driver", tuple(samples["VXLAN"]), "Mbit/s"),
        ),
    )
