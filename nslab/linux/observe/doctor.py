"""Try each primitive on this machine, in a throwaway namespace."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from nslab.dataclass import dataclass
from nslab.errors import Missing
from nslab.linux.netns import Namespaces
from nslab.linux.observe.host import driver
from nslab.linux.rules import restore
from nslab.linux.vm import boot as vm
from nslab.objects.needs import PRIMITIVES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.objects.needs import Primitive

TRIALS = Path(__file__).parents[2] / "components" / "kubelet"
"""The folder of nslab's own trials: a node's processes need what they try."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one trial. `word`: the error; `advice`: the remedy; both are empty if it works."""

    primitive: Primitive
    works: bool
    word: str = ""
    advice: str = ""


def examine() -> Iterator[Finding]:
    """Try every primitive and yield its finding."""
    with Namespaces() as spaces, spaces.throwaway():
        yield from map(_tried, PRIMITIVES)


def _tried(primitive: Primitive) -> Finding:
    for module in primitive.modules:
        if _loadable(module) and not driver(module):
            return Finding(primitive, False, f"module {module} is not loaded", f"modprobe {module}")
    for trial in primitive.trial:
        if trial.startswith("/"):
            # The file system is asked, and no program called `test`: that may be anything.
            if not any(map(os.path.exists, trial.split())):
                return Finding(primitive, False, f"there is no {' and no '.join(trial.split())}", primitive.instead)
            continue
        try:
            argv = _command(trial)
        except Missing as missing:
            return Finding(primitive, False, *str(missing).split("; ", 1))
        done = subprocess.run(argv, capture_output=True, text=True, env=restore.environment(), check=False)
        if done.returncode:
            lines = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()
            # nft prints the error first, then the line with a marker below it.
            wrong = next((line for line in lines if "Error" in line), lines[-1])
            return Finding(primitive, False, wrong, primitive.instead)
    return Finding(primitive, True)


def _command(trial: str) -> list[str]:
    """The argv of a trial: a program of this machine, or a Python file of nslab's."""
    program, *arguments = shlex.split(trial)
    if program.endswith(".py"):
        return [sys.executable, "-IS", str(TRIALS / program), *arguments]
    if program in vm.KERNELS:
        vm.kernel_here()
    return [restore.program(program), *arguments]


def _loadable(module: str) -> bool:
    """Whether the module is on the disk: then a trial would load it, which is the machine owner's decision."""
    index = Path(f"/lib/modules/{os.uname().release}/modules.dep")
    return index.exists() and any(f"/{module}.ko" in line.partition(":")[0] for line in index.open())
