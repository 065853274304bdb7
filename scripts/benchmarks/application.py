"""`scripts/bench application`: a shop of twelve Deployments and thirteen Services, from its file to the first answer.

It is tests/data/manifests/online-boutique.yaml, as it is and without its init container, which waits for the shop
itself. Both take turns, each in a lab of its own, after the kernel's background cleanup.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from benchmarks.figures import Figure, Group
from benchmarks.machine import tidied
from benchmarks.up import ROOT, program
from nslab.linux import owned

if TYPE_CHECKING:
    from collections.abc import Callable

MANIFEST = ROOT / "tests" / "data" / "manifests" / "online-boutique.yaml"
ASKED, ASKER = "http://frontend/", "deploy/emailservice"
TARGET = 1500
Samples = defaultdict[str, list[float]]


def measure(rounds: int, say: Callable[[str], None]) -> list[Group]:
    """From the start of `nslab up` to its exit, and to the answer of a Service by its name."""
    lab = f"bench-{os.getpid()}"
    samples: Samples = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="nslab-bench-") as folder:
        files = {"whole": MANIFEST.read_text(), "without": without_init(MANIFEST.read_text())}
        try:
            for number in range(rounds + 1):
                say(f"the application, round {number} of {rounds}" if number else "the application: warming up")
                for way in files if number % 2 else reversed(files):
                    file = Path(folder) / way / f"{lab}.yaml"
                    file.parent.mkdir(exist_ok=True)
                    file.write_text(files[way])
                    _measured(lab, file, way, samples)
                if not number:
                    samples.clear()
        finally:
            owned.release(lab)

    def row(name: str, key: str, below: float | None = None) -> Figure:
        return Figure(name, tuple(samples[key]), below=below)

    return [
        Group(
            "twelve Deployments and thirteen Services: the whole process of `nslab up`",
            (
                row("without the init container: until it ends", "without up"),
                row("the same, and until a Service has answered by name (another process)", "without answered", TARGET),
                row("with it: until it ends", "whole up"),
                row("the same, and until a Service has answered by name", "whole answered", TARGET),
            ),
        )
    ]


def without_init(text: str) -> str:
    """The documents of a manifest without the init containers of their templates."""
    documents: list[dict[str, Any]] = [one for one in yaml.safe_load_all(text) if one]
    for one in documents:
        one.get("spec", {}).get("template", {}).get("spec", {}).pop("initContainers", None)
    return yaml.safe_dump_all(documents)


def _measured(lab: str, file: Path, way: str, samples: Samples) -> None:
    tidied()
    started = time.perf_counter()
    samples[f"{way} up"].append(program("nslab", "up", str(file))[0])
    program("nslab", "exec", f"{lab}/{ASKER}", "--", "curl", "-sf", ASKED)
    samples[f"{way} answered"].append((time.perf_counter() - started) * 1000)
    program("nslab", "down", lab)
