"""Build a lab as `up` does, but without some of its processes, and measure the steps."""

from __future__ import annotations

import argparse
import json
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from nslab import engine
from nslab.admission.load import load
from nslab.compiler import compile_lab
from nslab.compiler.placement import assign_addresses
from nslab.linux import owned
from nslab.linux.kernel import LinuxKernel
from nslab.linux.netns import Namespaces, folder
from nslab.linux.observe.host import read_host
from nslab.linux.processes.agents import Agents
from nslab.objects.container import Workload
from nslab.objects.plan import diff
from nslab.objects.process import Process

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.objects.needs import HostFeatures
    from nslab.objects.plan import Plan

WITHOUT: dict[str, type[Process]] = {"processes": Process, "containers": Workload}


def plan_of(file: Path, without: type[Process], host: HostFeatures) -> Plan:
    """The steps that build a new lab, without processes of a kind."""
    plan = diff((), compile_lab(assign_addresses(load(file)), host))
    return tuple(step for step in plan if not isinstance(step.obj, without))


def build(file: Path, name: str, without: type[Process]) -> dict[str, float]:
    """Build a lab and leave it up. Returns milliseconds: of planning (including reading the file), and of execution."""
    spent: dict[str, float] = {}
    with owned.locked(name, "bench", print), Namespaces() as spaces, Agents(name, folder(name)) as agents:
        owned.claim(name)
        if without is not Process:
            agents.prefork()
        with _timed(spent, "plan"):
            host = read_host(spaces)
            plan = plan_of(file, without, host)
        kernel = LinuxKernel(spaces, agents, host.iptables)
        with _timed(spent, "apply"):
            engine.apply(kernel, plan)
            kernel.wait_until_up()
    return spent


@contextmanager
def _timed(spent: dict[str, float], what: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    spent[what] = (time.perf_counter() - started) * 1000


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("name")
    parser.add_argument("--without", choices=WITHOUT, required=True)
    arguments = parser.parse_args()
    print(json.dumps(build(arguments.file, arguments.name, WITHOUT[arguments.without])))
