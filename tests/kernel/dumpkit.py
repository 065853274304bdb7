"""Dumps of a lab's hosts, taken by `nslab dump-node`'s script as a person takes them."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from nslab.app.dumps import script

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.kernel.labkit import OwnLab

SHELLS = (("dash",), ("busybox", "sh"), ("bash", "--posix"))


def take(lab: OwnLab, hosts: Iterable[str], folder: Path) -> list[Path]:
    """A dump of each host in a folder of its own; each next one by another shell."""
    text, made = script(), []
    for number, host in enumerate(hosts):
        there = folder / host
        argv = ["ip", "netns", "exec", lab.ns(host), *SHELLS[number % len(SHELLS)], "-s", str(there)]
        done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        (there / "hostname").write_text(host)
        made.append(there)
    return made
