"""The pods behind what a command line names as kubectl's does: pod/NAME, deployment/NAME, job/NAME, service/NAME."""

from __future__ import annotations

from nslab.app.get import live_objects
from nslab.errors import UsageError
from nslab.lab.resources import meant, parts
from nslab.lab.selection import ALL, behind, selected

KINDS = tuple(kind for kind in ALL if kind != "cronjob.batch")
"""The kinds that have pods, or are one."""


def names_pods(word: str) -> bool:
    """Whether a word is KIND/NAME of something that has pods."""
    try:
        return meant((), parts(word)[0]) in KINDS
    except UsageError:
        return False


def pods_behind(lab: str, word: str, namespace: str = "") -> list[str]:
    """Return NAMESPACE/POD of the pods of KIND/NAME, the ready ones first. UsageError if there is no such object."""
    there = live_objects(lab)
    (one,) = selected(there, [word], namespace or "default")
    return [f"{pod['metadata']['namespace']}/{pod['metadata']['name']}" for pod in behind(one, there)]
