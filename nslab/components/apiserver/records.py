"""Control's files in the lab's folder: its state after a kill, and the records of kube-dns.

Files are replaced atomically, so that a reader sees the old one or the new one.
"""

from __future__ import annotations

import contextlib
import json
import os

from nslab import rundir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

DOMAIN = "cluster.local"


def write_records(run: str, services: Iterable[str]) -> None:
    """Write the records of kube-dns: all Services (JSON texts) with their current endpoints."""
    os.makedirs(f"{run}/{rundir.DNS}", 0o700, exist_ok=True)
    replace(f"{run}/{rundir.DNS_RECORDS}", f'{{"domain": "{DOMAIN}", "services": {listed(services)}}}')


def write_state(run: str, generation: int, services: Iterable[str], policy: str) -> None:
    """Store the Services and the policy (JSON texts) as they were put, for the next control process."""
    text = f'{{"generation": {generation}, "services": {listed(services)}, "policy": {policy or "null"}}}'
    replace(f"{run}/{rundir.CONTROL_STATE}", text)


def read_state(run: str) -> dict[str, Any] | None:
    """The state of an earlier control process; None without one."""
    return _read(f"{run}/{rundir.CONTROL_STATE}")


def read_pods(run: str) -> dict[str, dict[str, Any]]:
    """The statuses of pods by node, as the nodes last wrote them."""
    found = {}
    os.makedirs(f"{run}/{rundir.NODES}", 0o700, exist_ok=True)  # control is the first process of a new lab
    for name in os.listdir(f"{run}/{rundir.NODES}"):
        if name.endswith(rundir.STATUS) and (document := _read(f"{run}/{rundir.NODES}/{name}")):
            found[name.removesuffix(rundir.STATUS)] = document["pods"]
    return found


def listed(services: Iterable[str]) -> str:
    """A JSON list of JSON texts, one per line."""
    return "[" + ",\n".join(services) + "]"


def replace(path: str, text: str) -> None:
    """Write a file atomically; a symlink of its name is replaced, not followed."""
    new = f"{path}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(new)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(new, path)


def _read(path: str) -> dict[str, Any] | None:
    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
    except (FileNotFoundError, ValueError):
        return None
    return document if isinstance(document, dict) else None
