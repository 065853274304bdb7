"""Try each manifest of a folder (a file, or a folder of them) as a lab of its own: is it taken, up, answered?"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nslab.admission.load import load
from nslab.api.documents import MANIFESTS
from nslab.errors import NslabError
from nslab.linux.netns import labs
from nslab.objects.names import pod_host

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nslab.lab.types import Lab

NSLAB = (sys.executable, "-P", "-m", "nslab")
RENDER = ("--node", "node1", "--node-ip", "192.168.59.22", "--cluster-cidr", "20.96.0.0/12", "--proxy-mode", "iptables")
TIMEOUT = 120
"""Seconds for one call of nslab."""
NOTES = ("kept, not acted on", "played by stand-ins", "this kernel")
"""How lines begin that explain no failure."""
ASKED = ("cluster IP", "name")
"""The ways to call a Service, in `probe`'s words."""


class FailedError(Exception):
    """A stage failed; the text is the first line of why."""


@dataclass
class Tried:
    """What became of one manifest. `services`: those that were asked; `seconds`: what `up` took."""

    file: Path
    taken: bool = False
    up: bool = False
    answered: bool = False
    services: int = 0
    seconds: float = 0.0
    why: str = ""


def manifests(folder: Path) -> Iterator[Path]:
    """The manifests in a folder: its files, and the folders with files in them."""
    for path in sorted(folder.iterdir()):
        files = path.iterdir() if path.is_dir() else (path,)
        if any(file.suffix in MANIFESTS for file in files):
            yield path


def tried(file: Path, *, up: bool) -> Tried:
    """Try one manifest. With `up`, its lab comes up and goes down."""
    result = Tried(file)
    try:
        lab = _taken(file)
        result.taken = True
        if up:
            _live(lab, result)
    except (FailedError, NslabError) as error:
        result.why = str(error).splitlines()[0] if str(error) else type(error).__name__
    return result


def _taken(file: Path) -> Lab:
    _nslab("render", "-f", str(file), *RENDER)
    _nslab("plan", str(file))
    return load(file)


def _live(lab: Lab, result: Tried) -> None:
    if lab.name in labs():
        raise FailedError(f"a lab {lab.name} runs already; take it down first: nslab down {lab.name}")
    try:
        started = time.monotonic()
        _nslab("up", str(result.file))
        result.seconds = time.monotonic() - started
        result.up = True
        result.services = _ask(lab)
        result.answered = True
    finally:
        _nslab("down", lab.name)


def _ask(lab: Lab) -> int:
    """Ask every Service, and every host, from one pod; how many Services there were to ask.

    The endpoints of a Service without a selector are machines beside a cluster, and not here.
    """
    done = _nslab("probe", lab.name, "--from", _asker(lab), "-o", "json", status=(0, 1))
    elsewhere = {f"{service.namespace}/{service.name}" for service in lab.services if not service.selector}
    answers: list[dict[str, Any]] = [one for one in json.loads(done.stdout) if one.get("service") not in elsewhere]
    for one in answers:
        if not one["ok"]:
            to = f"{one['service']} by {one['way']}" if "service" in one else f"{one['to']} by {one['kind']}"
            raise FailedError(f"{one['from']} to {to}: {one['wrong']}")
    asked = Counter(one["service"] for one in answers if one.get("way") in ASKED)
    return len(asked)


def _asker(lab: Lab) -> str:
    """A pod of the application that stays; kube-dns, if there is none."""
    stay = [pod for pod in lab.pods if pod.restart_policy == "Always"]
    own = [pod for pod in stay if pod.namespace != "kube-system"]
    pod = next(iter((*own, *stay)), None)
    return pod_host(pod.namespace, pod.name) if pod else lab.nodes[0].name


def _nslab(*arguments: str, status: Sequence[int] = (0,)) -> subprocess.CompletedProcess[str]:
    argv = [*NSLAB, *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    if done.returncode not in status:
        raise FailedError(f"{arguments[0]}: {_first_line(done.stderr) or f'ended with {done.returncode}'}")
    return done


def _first_line(said: str) -> str:
    """The first line of an error, past what a lab only notes."""
    lines = [line for line in said.splitlines() if line.strip()]
    return next(iter([line for line in lines if not line.startswith(NOTES)] or lines), "")


def summary(results: Sequence[Tried], *, up: bool) -> str:
    """The counts, in a line."""
    counts = f"{len(results)} manifests: {sum(one.taken for one in results)} taken"
    if not up:
        return counts
    services = sum(one.services for one in results)
    more = f"{sum(one.up for one in results)} up, {sum(one.answered for one in results)} answered ({services} Services)"
    return f"{counts}, {more}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="scripts/corpus", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--up", action="store_true", help="also bring each up, ask its Services, and take it down")
    parser.add_argument("-v", "--verbose", action="store_true", help="a line for each manifest, not for failures only")
    asked = parser.parse_args(arguments)
    if not asked.folder.is_dir():
        parser.error(f"{asked.folder} is no folder")
    if asked.up and os.geteuid() != 0:
        parser.error("--up builds labs, which takes root")
    good, results = "answered" if asked.up else "taken", []
    for file in manifests(asked.folder):
        results.append(one := tried(file, up=asked.up))
        if one.why:
            print(f"{file.name}: {one.why}", flush=True)
        elif asked.verbose:
            live = f": up in {one.seconds:.2f} s, {one.services} Services" if asked.up else ""
            print(f"{file.name}{live}", flush=True)
    print(summary(results, up=asked.up))
    return 0 if results and all(getattr(one, good) and not one.why for one in results) else 1


if __name__ == "__main__":
    sys.exit(main())
