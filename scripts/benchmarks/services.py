"""`scripts/bench services`: write, change and traverse the rules of many Services, and read their YAML.

The compared ways take turns in one run. `--full` adds the one that takes minutes: 10,000 Services with nft.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks import labs
from benchmarks.figures import Figure, Group, ratio
from benchmarks.machine import tidied
from benchmarks.services_manifest import manifest
from benchmarks.stage import NODE, SERVER, Stage, cluster_ip, moved, services
from nslab.admission.load import load
from nslab.linux import owned
from nslab.linux.netns import Namespaces
from nslab.linux.observe.host import driver, working_iptables
from nslab.linux.rules import restore
from nslab.proxy.modes import mode
from nslab.proxy.sync import Sync

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nslab.proxy.model import Proxy, ServiceInfo
    from nslab.ruletext.items import NodeCommand

MANY = 10_000
SIZES = (100, 1000, MANY)
CONNECTIONS = 500
CHANGES = 3
SLOW = 2
"""Rounds of measurements that take longer than ten seconds."""
Samples = defaultdict[str, list[float]]


class Way:
    """One way to write rules. `note`: why it is not measured, or ""."""

    def __init__(self, name: str, proxy: Proxy, note: str = "") -> None:
        self.name, self.proxy, self.note = name, proxy, note

    def rounds(self, size: int, rounds: int, full: bool) -> int:
        """The number of measurements."""
        if self.why_not(size, full):
            return 0
        return min(rounds, SLOW) if self._slow(size) else rounds

    def why_not(self, size: int, full: bool) -> str:
        """The reason to show instead of a figure; "" if it is measured."""
        return self.note or ("only with --full" if self._slow(size) and not full else "")

    def _slow(self, size: int) -> bool:
        # nft's time grows with the square of the number of Services.
        return self.proxy.mode == "nftables" and size >= MANY


def measure(rounds: int, say: Callable[[str], None], full: bool = False) -> list[Group]:
    """All figures of Services."""
    lab = f"bench-{os.getpid()}"
    try:
        with Namespaces() as spaces:
            ways = _ways(spaces)
        return [
            _sync(ways, rounds, say, full),
            _live(lab, ways, rounds, say, full),
            _parse(lab, rounds, say),
            _connect(lab, ways, rounds, say),
        ]
    finally:
        owned.release(lab)


def _ways(spaces: Namespaces) -> list[Way]:
    with spaces.throwaway():
        found = working_iptables()
        # If modules can be loaded, a trial would load it into the machine's kernel.
        tried = driver("iptable_nat") or not os.path.exists("/proc/modules")
        legacy = tried and _works("iptables-legacy")
        nft = _works("iptables-nft")
    lacking = "not measured here: this kernel has no {} tables"
    return [
        Way("iptables-nft", replace(NODE, iptables="iptables-nft"), "" if nft else lacking.format("nft")),
        Way("iptables-legacy", replace(NODE, iptables="iptables-legacy"), "" if legacy else lacking.format("legacy")),
        Way("nft", replace(NODE, mode="nftables", iptables=found)),
    ]


def _works(variant: str) -> bool:
    argv = [f"{variant}-restore", "--noflush"]
    text = "*nat\n-A POSTROUTING -j MASQUERADE\nCOMMIT\n"
    return not subprocess.run(argv, input=text, text=True, capture_output=True, check=False).returncode


def _run(commands: Sequence[NodeCommand]) -> None:
    for command in commands:
        done = subprocess.run(
            [restore.program(command.argv[0]), *command.argv[1:]],
            input=command.text,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            sys.exit(f"{' '.join(command.argv)}: {done.stderr}")


def _milliseconds(started: float) -> float:
    return (time.perf_counter() - started) * 1000


def _sync(ways: Sequence[Way], rounds: int, say: Callable[[str], None], full: bool) -> Group:
    figures = []
    with Namespaces() as spaces:
        for size in SIZES:
            wanted = services(size)
            for way in ways:
                samples: Samples = defaultdict(list)
                for number in range(way.rounds(size, rounds, full)):
                    say(f"{size:,} Services with {way.name}, round {number + 1}")
                    # Both write the same text, and take turns at being first.
                    commands = _generated(way.proxy, wanted)[1]
                    for ours in (number % 2, 1 - number % 2):
                        kept = None  # freed between two measurements: a real kube-proxy keeps it
                        tidied()
                        with spaces.throwaway():
                            started = time.perf_counter()
                            if ours:
                                kept, commands = _generated(way.proxy, wanted)
                            _run(commands)
                            samples["ours" if ours else "theirs"].append(_milliseconds(started))
                            del kept
                note = way.why_not(size, full)
                ours_, theirs = (Figure("", tuple(samples[key]), note=note) for key in ("ours", "theirs"))
                title = f"{size:,} with {way.name}"
                below = 1.3 if size == MANY else None
                figures += [
                    replace(ours_, name=f"{title}: nslab, rules made and written"),
                    replace(theirs, name=f"{title}: the restore program alone, the same text"),
                    ratio(f"{title}: nslab / restore program", ours_, theirs, below),
                ]
    return Group("full sync: N Services of two endpoints into an empty namespace", tuple(figures))


def _generated(proxy: Proxy, wanted: Sequence[ServiceInfo]) -> tuple[Sync, tuple[NodeCommand, ...]]:
    """kube-proxy's state for these Services, and the commands that it would run."""
    module = mode(proxy.mode)
    sync = Sync(module, proxy)
    old, new = sync.change({service.key: service for service in wanted})
    gc.freeze()  # as kube-proxy does
    return sync, module.commands(old, new, sync.proxy)


def _live(lab: str, ways: Sequence[Way], rounds: int, say: Callable[[str], None], full: bool) -> Group:
    figures = []
    for size in SIZES:
        wanted = services(size)
        for way in ways:
            samples: Samples = defaultdict(list)
            for number in range(way.rounds(size, rounds, full)):
                say(f"one endpoint among {size:,} Services, {way.name}, round {number + 1}")
                tidied()
                with Stage(lab, way.proxy) as stage:
                    started = time.perf_counter()
                    samples["own"].append(stage.put(wanted) * 1000)
                    samples["whole"].append(_milliseconds(started))
                    _changes(stage, wanted, samples)
            title, note = f"{size:,} with {way.name}", way.why_not(size, full)
            legacy = way.name == "iptables-legacy"
            own, whole, change, alone = (
                Figure("", tuple(samples[key]), note=note) for key in ("own", "whole", "change", "alone")
            )
            figures += [
                replace(whole, name=f"{title}: all put, until all is written"),
                replace(own, name=f"{title}: of it, kube-proxy's own sync"),
                replace(change, name=f"{title}: one endpoint changed", below=None if legacy or size < MANY else 200),
                replace(alone, name=f"{title}: the restore program alone, such a text"),
                ratio(f"{title}: change / restore program", change, alone, 1.3 if legacy and size == MANY else None),
            ]
    return Group("real processes: from the message to control until kube-proxy has followed", tuple(figures))


def _changes(stage: Stage, wanted: Sequence[ServiceInfo], samples: Samples) -> None:
    """Change an endpoint of a Service CHANGES times; in turns, one of another with the restore program alone."""
    sync, _ = _generated(stage.proxy, wanted)
    one, other = wanted[len(wanted) // 2], wanted[len(wanted) // 2 - 1]
    for number in range(CHANGES):
        samples["change"].append(stage.change(moved(one, number)))
        old, new = sync.change({other.key: moved(other, number)})
        commands = mode(stage.proxy.mode).commands(old, new, sync.proxy)
        with stage.inside("node"):
            started = time.perf_counter()
            _run(commands)
            samples["alone"].append(_milliseconds(started))


def _parse(lab: str, rounds: int, say: Callable[[str], None]) -> Group:
    samples = []
    with tempfile.TemporaryDirectory(prefix="nslab-bench-") as folder:
        file = Path(folder) / "services.yaml"
        file.write_text(labs.large(lab, nodes=2, pods=0) + manifest(MANY))
        for number in range(rounds):
            say(f"reading {MANY:,} Services, round {number + 1} of {rounds}")
            started = time.perf_counter()
            load(file)
            samples.append(_milliseconds(started))
    figure = Figure(f"{MANY:,} Services and as many EndpointSlices: read and checked", tuple(samples), below=4000)
    return Group("a lab's YAML", (figure,))


def _connect(lab: str, ways: Sequence[Way], rounds: int, say: Callable[[str], None]) -> Group:
    direct, userspace = (Way(name, replace(ways[-1].proxy, mode=name)) for name in ("none", "userspace"))
    figures = []
    for way, size in ((direct, 0), *((way, size) for size in (1, 1000) for way in (*ways, userspace))):
        samples: Samples = defaultdict(list)
        if not way.note:
            say(f"connections, {size:,} Services, {way.name}")
            with Stage(lab, way.proxy) as stage:
                if size:
                    stage.put(services(size))
                target = (cluster_ip(size - 1), 80) if size else (SERVER[0], 8080)
                stage.connect(*target, CONNECTIONS)
                for _ in range(rounds):
                    connected, shown = stage.connect(*target, CONNECTIONS)
                    samples["connected"].append(median(connected))
                    samples["shown"].append(median(shown))
        title = f"{way.name}, the last of {size:,}" if size else "direct, to the pod's address"
        figures += [
            Figure(f"{title}: connected", tuple(samples["connected"]), "µs", note=way.note),
            Figure(f"{title}: first byte", tuple(samples["shown"]), "µs", note=way.note),
        ]
    return Group(f"a connection from pod to pod through a ClusterIP (medians of {CONNECTIONS})", tuple(figures))
