"""Write rules and sets with the restore programs: in one transaction, fifty times faster than one by one."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from typing import TYPE_CHECKING

from nslab import rundir
from nslab.errors import Missing, Refused
from nslab.linux.netns import folder, lab_of
from nslab.linux.packages import how_to_install
from nslab.objects import script as shell
from nslab.objects.iptables import InTable
from nslab.objects.ipvs import ipvs_found, refusals
from nslab.objects.plan import Remove
from nslab.runtime.trust import PROGRAMS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nslab.objects.plan import Step

_LINE = re.compile(r"[Ee]rror (?:occurred at|in) line:? (\d+)|line (\d+)(?: failed|: )")
_NFT = re.compile(r"^\S+?:(\d+):[\d-]+: Error: (?:Could not process rule: )?(.*)", re.MULTILINE)
_EXTENSION = re.compile(r"Extension (\S+) revision \d+ not supported")
_PROGRAM = re.compile(r"^[\w-]+( v[\d.]+)?( \([\w]+\))?: (Error in line \d+: )?")


def ipset(text: str, steps: Sequence[Step]) -> None:
    """Feed `ipset restore` in this thread's namespace. Each line of `text` is one step."""
    _feed(["ipset", "restore"], text, steps)


def iptables(variant: str, text: str, steps: Sequence[Step]) -> None:
    """Feed `iptables-restore` in this thread's namespace; `variant` is iptables, iptables-nft or iptables-legacy."""
    _feed([f"{variant}-restore", "--noflush", "--wait"], text, steps)


def ipvsadm(text: str, steps: Sequence[Step]) -> None:
    """Feed `ipvsadm -R` in this thread's namespace. It continues after an error and still exits with 0."""
    ns = steps[0].obj.ns
    before = tuple(ipvs_found(ns, _ipvsadm("-Sn").stdout))
    failures = _ipvsadm("-R", text=text).stderr.splitlines()
    if not failures:
        return
    guesses = (refusals(before, steps, addressed=addressed)[0] for addressed in (True, False))
    expected = next((guess for guess in guesses if [*guess.values()] == failures), {})
    refused = set(expected)
    if not expected:  # another error, such as a missing scheduler: read back which steps were done
        now = {obj.key: obj for obj in ipvs_found(ns, _ipvsadm("-Sn").stdout)}
        refused = {
            place
            for place, step in enumerate(steps)
            if now.get(step.obj.key) != (None if isinstance(step, Remove) else step.obj)
        }
    first = min(refused, default=0)
    done = [step for place, step in enumerate(steps) if place not in refused]
    raise Refused(shell.command(steps[first]), expected.get(first, failures[0]), done)


def _ipvsadm(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    argv = [program("ipvsadm"), *arguments]
    return subprocess.run(argv, input=text, capture_output=True, text=True, env=environment(), check=False)


def nft(text: str, steps: Sequence[Step]) -> None:
    """Feed `nft -f -` in this thread's namespace: one atomic transaction."""
    argv = [program("nft"), "-f", "-"]
    done = subprocess.run(argv, input=text, capture_output=True, text=True, env=environment(), check=False)
    if done.returncode == 0:
        return
    found = _NFT.search(done.stderr)
    line = text.splitlines()[int(found[1]) - 1] if found else ""
    raise Refused(f"nft {line}" if line else shell.command(steps[0]), found[2] if found else done.stderr.strip())


def listed(*argv: str, lock: str = "/dev/null") -> str:
    """The output of a program that only reads; Refused with its error if it fails."""
    line = [program(argv[0]), *argv[1:]]
    done = subprocess.run(line, capture_output=True, text=True, errors="replace", env=environment(lock), check=False)
    if done.returncode:
        raise Refused(" ".join(argv), _reason(done.stderr) or f"exit status {done.returncode}")
    return done.stdout


def fed(argv: Sequence[str], text: str, lock: str = "/dev/null") -> None:
    """Feed a program some text; Refused with its error if it fails."""
    line = [program(argv[0]), *argv[1:]]
    done = subprocess.run(line, input=text, capture_output=True, text=True, env=environment(lock), check=False)
    if done.returncode:
        raise Refused(" ".join(argv), _reason(done.stderr) or f"exit status {done.returncode}")


def _feed(argv: list[str], text: str, steps: Sequence[Step]) -> None:
    argv[0] = program(argv[0])
    done = subprocess.run(
        argv, input=text, capture_output=True, text=True, env=environment(lock_of(steps[0].obj.ns)), check=False
    )
    if done.returncode == 0:
        return
    reason, place = _reason(done.stderr) or f"exit status {done.returncode}", _LINE.search(done.stderr)
    number = int(place[1] or place[2]) if place else 0
    if argv[1] == "restore" and number:  # ipset stops at the line that it names
        raise Refused(shell.command(steps[number - 1]), reason, steps[: number - 1])
    lines = text.splitlines()
    committed = _committed(lines[: number - 1]) if number else set()
    line = lines[number - 1] if number else ""
    if not line.startswith("-"):  # iptables-nft resolves a jump's chain only at COMMIT
        named = re.search(r"'(\S+)'", reason)
        line = next((other for other in lines if named and other.startswith("-") and named[1] in other.split()), "")
    blamed = next((step for step in steps if line and line in _shell_lines(step)), steps[0])
    done_before = [step for step in steps if isinstance(step.obj, InTable) and step.obj.table in committed]
    raise Refused(line or shell.command(blamed), reason, done_before)


def _committed(lines: Sequence[str]) -> set[str]:
    """The tables that iptables-restore has committed as a whole with these lines, before the one that it refuses."""
    begun = [line[1:] for line in lines if line.startswith("*")]
    return {*begun} if lines and lines[-1] == "COMMIT" else {*begun[:-1]} - {*begun[-1:]}


def _reason(stderr: str) -> str:
    """The error of a restore program, without its name and its advice."""
    if lacking := dict.fromkeys(_EXTENSION.findall(stderr)):
        which = ", ".join(lacking)
        return f"this kernel lacks iptables' {which}; `nslab doctor` tells what it has, and `nslab vm` has more"
    lines = [_PROGRAM.sub("", line).strip() for line in stderr.splitlines()]
    return next((line for line in lines if line and not line.startswith(("Error occurred", "Try `"))), "")


def _shell_lines(step: Step) -> str:
    return "\n".join(shell.commands(step))


@cache
def program(name: str) -> str:
    """The path of a program; Missing without one. The search ignores the caller's PATH."""
    found = shutil.which(name, path=PROGRAMS)
    if found is None:
        raise Missing(f"{name} is not installed; {how_to_install(name)}")
    return found


def environment(lock: str = "/dev/null") -> Mapping[str, str]:
    """The programs' environment: messages in English, and a lock file that is not the machine's."""
    return {"PATH": PROGRAMS, "LC_ALL": "C", "XTABLES_LOCKFILE": lock}


def lock_of(ns: str) -> str:
    """The lock file of the lab that a namespace belongs to."""
    return str(folder(lab_of(ns)) / rundir.XTABLES_LOCK)
