"""Rules and sets go in as the restore programs take them: whole, in one transaction, fifty times faster than singly."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import cache
from typing import TYPE_CHECKING

from nslab.errors import Missing, Refused
from nslab.linux.netns import folder, lab_of
from nslab.net import shell

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nslab.net.steps import Step

_LINE = re.compile(r"[Ee]rror (?:occurred at|in) line:? (\d+)|line (\d+) failed")


def ipset(text: str, steps: Sequence[Step]) -> None:
    """Feed `ipset restore` in this thread's namespace. Lines stand for steps one to one."""
    _feed(["ipset", "restore"], text, steps)


def iptables(variant: str, text: str, steps: Sequence[Step]) -> None:
    """Feed `iptables-restore` in this thread's namespace; `variant` is iptables, iptables-nft or iptables-legacy."""
    _feed([f"{variant}-restore", "--noflush", "--wait"], text, steps)


def _feed(argv: list[str], text: str, steps: Sequence[Step]) -> None:
    argv[0] = program(argv[0])
    done = subprocess.run(
        argv, input=text, capture_output=True, text=True, env=environment(lock_of(steps[0].obj.ns)), check=False
    )
    if done.returncode == 0:
        return
    said = done.stderr.strip().splitlines()
    place = _LINE.search(done.stderr)
    line = text.splitlines()[int(place[1] or place[2]) - 1] if place else ""
    blamed = next((step for step in steps if line and line in _said_by(step)), steps[0])
    # iptables-restore takes a table as a whole; ipset restore stops at the line that it names.
    before = steps[: steps.index(blamed)] if argv[1] == "restore" and place else ()
    raise Refused(line or shell.command(blamed), said[-1] if said else f"exit status {done.returncode}", before)


def _said_by(step: Step) -> str:
    return "\n".join(shell.commands(step))


@cache
def program(name: str) -> str:
    """The path of a program; Missing if there is none."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '/usr/bin:/bin')}:{_SBIN}")
    if found is None:
        raise Missing(f"{name} is not installed; on Debian and Ubuntu: apt install {_PACKAGE.get(name, name)}")
    return found


_SBIN = "/usr/sbin:/sbin"  # an ordinary user's PATH lacks it
_PACKAGE = {"iptables-restore": "iptables", "iptables-save": "iptables", "nft": "nftables", "ip": "iproute2"}


def environment(lock: str = "/dev/null") -> Mapping[str, str]:
    """The programs' environment: their words in English, and a lock file that is not the machine's."""
    path = f"{os.environ.get('PATH', '/usr/bin:/bin')}:{_SBIN}"
    return {"PATH": path, "LC_ALL": "C", "XTABLES_LOCKFILE": lock}


def lock_of(ns: str) -> str:
    """The lock file of the lab that a namespace belongs to."""
    return str(folder(lab_of(ns)) / "xtables.lock")
