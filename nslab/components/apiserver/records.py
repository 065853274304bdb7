"""The lab's folder, kept by control: what it must know after it was killed, and what kube-dns reads.

A file is replaced as a whole, so whoever reads it sees the old one or the new one.
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
    """What kube-dns answers from: all Services (as JSON texts) with their endpoints as they are now."""
    os.makedirs(f"{run}/{rundir.DNS}", 0o700, exist_ok=True)
    replace(f"{run}/{rundir.DNS_RECORDS}", f'{{"domain": "{DOMAIN}", "services": {listed(services)}}}')


def write_state(run: str, generation: int, services: Iterable[str]) -> None:
    """What was put, for the next control process."""
    replace(f"{run}/{rundir.CONTROL_STATE}", f'{{"generation": {generation}, "services": {listed(services)}}}')


def read_state(run: str) -> dict[str, Any] | None:
    """What an earlier control process left, if there was one that knew anything."""
    return _read(f"{run}/{rundir.CONTROL_STATE}")


def read_pods(run: str) -> dict[str, dict[str, Any]]:
    """What the nodes last wrote down of their pods: node to pods with their statuses."""
    found = {}
    os.makedirs(f"{run}/{rundir.NODES}", 0o700, exist_ok=True)  # of a new lab, control is the first to start
    for name in os.listdir(f"{run}/{rundir.NODES}"):
        if name.endswith(rundir.STATUS) and (document := _read(f"{run}/{rundir.NODES}/{name}")):
            found[name.removesuffix(rundir.STATUS)] = document["pods"]
    return found


def listed(services: Iterable[str]) -> str:
    """JSON texts as a JSON list, a line each."""
    return "[" + ",\n".join(services) + "]"


def replace(path: str, text: str) -> None:
    """Write a file at once; a link by its name is replaced, not followed."""
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
