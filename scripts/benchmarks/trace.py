"""`scripts/bench trace`: follow one packet, predict it, and capture many, each beside what it cannot be faster than.

The compared ways take turns in one run, in one lab (calico-two-node under another name).
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, TextIO

from benchmarks import labs
from benchmarks.figures import Figure, Group, ratio
from benchmarks.up import program
from nslab.app.trace import trace, tracing
from nslab.linux import owned
from nslab.linux.netns import Namespaces
from nslab.objects.names import netns

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BATCH = 20
BURST = 10_000
PASSED = 4
"""Interfaces between pod-d and pod-c of the same node: two of the pods, two of the node."""
SENDER, SERVICE = "pod-d", "svc-b"
_CLUSTER_IP, _ADDRESS, _PORT = "10.103.9.116", "20.109.131.2", 9999
"""Of SERVICE; of pod-c, where nobody listens at the port."""
_TCPDUMP = ("tcpdump", "-Z", "root", "--immediate-mode", "-i", "eth0", "-B", "65536", "-s", "256")
_LATE = 20
"""Seconds after which a capture is ended that has not seen every datagram."""
Samples = defaultdict[str, list[float]]


def measure(rounds: int, say: Callable[[str], None]) -> list[Group]:
    """All figures of `trace` and `capture`."""
    lab = f"bench-{os.getpid()}"
    with tempfile.TemporaryDirectory(prefix="nslab-bench-") as folder:
        file = Path(folder) / "small.yaml"
        file.write_text(labs.small(lab))
        try:
            program("nslab", "up", str(file))
            return [
                _process(lab, file, rounds, say),
                _batch(lab, rounds, say),
                _capture(lab, Path(folder), rounds, say),
            ]
        finally:
            owned.release(lab)


def lost(said: str) -> int:
    """The number of lost packets in the last lines of `nslab capture` or tcpdump."""
    found = re.search(r"(\d+) (?:of them lost|packets? dropped by kernel)", said)
    return int(found[1]) if found else 0


def _milliseconds(started: float) -> float:
    return (time.perf_counter() - started) * 1000


def _process(lab: str, file: Path, rounds: int, say: Callable[[str], None]) -> Group:
    ways = {
        "trace": ("nslab", "trace", lab, SENDER, SERVICE),
        "curl": ("nslab", "exec", f"{lab}/{SENDER}", "--", "curl", "-s", f"http://{SERVICE}:8080/"),
        "predict": ("nslab", "trace", lab, SENDER, SERVICE, "--predict"),
        "plan": ("nslab", "plan", str(file)),
    }
    samples: Samples = defaultdict(list)
    for number in range(rounds + 1):
        say(f"nslab trace, round {number} of {rounds}" if number else "nslab trace: warming up")
        for name in ways if number % 2 else reversed(ways):
            samples[name].append(program(*ways[name])[0])
        if not number:
            samples.clear()
    seen, sent, computed, planned = (Figure("", tuple(samples[name])) for name in ways)
    return Group(
        f"nslab trace {SENDER} {SERVICE} in calico-two-node, the whole process",
        (
            Figure("nslab trace, delivered and answered", seen.samples, below=500),
            Figure("the packet alone: nslab exec curl", sent.samples),
            ratio("nslab trace / nslab exec curl", seen, sent),
            Figure("nslab trace --predict", computed.samples, below=300),
            Figure("the State alone: nslab plan", planned.samples),
            ratio("nslab trace --predict / nslab plan", computed, planned),
        ),
    )


def _batch(lab: str, rounds: int, say: Callable[[str], None]) -> Group:
    samples: Samples = defaultdict(list)
    for number in range(rounds):
        say(f"{BATCH} packets in one process, round {number + 1} of {rounds}")
        with tracing(lab) as tracer:
            samples["tracer"].append(_each(partial(tracer.trace, SENDER, SERVICE)))
        samples["trace"].append(_each(partial(trace, lab, SENDER, SERVICE)))
        samples["alone"].append(_each(partial(_connection, lab)))
    return Group(
        f"each of {BATCH} packets in one process (medians)",
        (
            Figure("by one tracer, which keeps its sockets", tuple(samples["tracer"]), below=60),
            Figure("by `trace`, which opens them each time", tuple(samples["trace"])),
            Figure("the connection alone, with nobody looking", tuple(samples["alone"])),
        ),
    )


def _each(once: Callable[[], object]) -> float:
    """The median milliseconds of BATCH calls."""
    spent = []
    for _ in range(BATCH):
        started = time.perf_counter()
        once()
        spent.append(_milliseconds(started))
    return median(spent)


def _connection(lab: str) -> None:
    """What `trace` sends: a TCP connection from SENDER to SERVICE with a question, and its answer."""
    with Namespaces() as spaces:
        spaces.enter(netns(lab, SENDER))
        with socket.socket() as peer:
            peer.settimeout(5)
            spaces.home()
            peer.connect((_CLUSTER_IP, 8080))
            peer.sendall(b"GET / HTTP/1.0\r\n\r\n")
            peer.recv(1)


def _capture(lab: str, folder: Path, rounds: int, say: Callable[[str], None]) -> Group:
    inside = ("ip", "netns", "exec", netns(lab, SENDER))
    file, match = str(folder / "burst"), f"udp dst port {_PORT}"
    ours = (sys.executable, "-P", "-m", "nslab", "capture", lab)
    ways: dict[str, tuple[str, ...]] = {
        "nobody": (),
        "tcpdump": (*inside, *_TCPDUMP, "-w", file, "-c", str(BURST), match),
        "one": (*ours, f"{SENDER}:eth0", "-w", file, "-c", str(BURST), "--filter", match),
        "every": (*ours, "-w", file, "-c", str(BURST * PASSED), "--filter", match),
    }
    samples: Samples = defaultdict(list)
    for number in range(rounds):
        say(f"{BURST:,} datagrams, round {number + 1} of {rounds}")
        for name in ways if number % 2 else reversed(ways):
            spent, missing = _burst(lab, ways[name])
            samples[name].append(spent)
            samples[f"{name} lost"].append(missing)

    def row(name: str, key: str) -> Figure:
        return Figure(name, tuple(samples[key]))

    def losses(name: str, key: str, below: float | None = None) -> Figure:
        return Figure(f"{name}: packets lost", tuple(samples[f"{key} lost"]), "", below)

    return Group(
        f"{BURST:,} datagrams of {SENDER} to pod-c, from the first one until the capture has written all",
        (
            row("sent, nobody captures", "nobody"),
            row("tcpdump at one interface", "tcpdump"),
            row("nslab capture at the same interface", "one"),
            ratio("nslab capture / tcpdump", row("", "one"), row("", "tcpdump")),
            row(f"nslab capture at all interfaces; they pass {PASSED}", "every"),
            losses("tcpdump", "tcpdump"),
            losses("nslab capture at one interface", "one", 0),
            losses("nslab capture at all", "every", 0),
        ),
    )


def _burst(lab: str, argv: Sequence[str]) -> tuple[float, int]:
    """Milliseconds from the first of BURST datagrams to the end of the capture, and how many packets it lost."""
    process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) if argv else None
    if process and process.stderr:
        _until_it_listens(process.stderr)
    with Namespaces() as spaces:
        spaces.enter(netns(lab, SENDER))
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        spaces.home()
    started = time.perf_counter()
    with sender:
        for number in range(BURST):
            sender.sendto(b"%d" % number, (_ADDRESS, _PORT))
    said = _last_words(process) if process else ""
    return _milliseconds(started), lost(said)


def _until_it_listens(said: TextIO) -> None:
    for line in said:
        if "capturing at" in line or "listening on" in line:
            return
    sys.exit("a capture does not begin")


def _last_words(process: subprocess.Popen[str]) -> str:
    try:
        return process.communicate(timeout=_LATE)[1]
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        return process.communicate()[1]
