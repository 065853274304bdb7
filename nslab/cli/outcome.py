"""What verbs that change a lab say at their end: what is not ready, and what could not be written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.cli.output import note

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def unready_note(lab: str, pods: Sequence[str], most: int = 3) -> str:
    """The line about pods, NAMESPACE/NAME, that a change did not touch and that are not ready; "" if there are none."""
    if not pods:
        return ""
    names = ", ".join(pod.removeprefix("default/") for pod in pods[:most])
    more = f" and {len(pods) - most} more" if len(pods) > most else ""
    return f"not ready, and not changed by this: {names}{more}; `nslab ps {lab}` says why"


def ready_or_exit(not_ready: Sequence[object], others: str = "") -> None:
    """Return if every container and rollout is; else print those that are not, and exit with 1. `others`: last line."""
    import typer

    for container in not_ready:
        note(f"nslab: {container}")
    note(others)
    if not_ready:
        raise typer.Exit(1)


def not_ready(whys: Mapping[str, str], most: int = 5) -> None:
    """Print below a list of pods why some of them, by NAMESPACE/NAME, are not ready."""
    for pod, why in [*whys.items()][:most]:
        note(f"{pod.removeprefix('default/')} is not ready: {why}")
    if len(whys) > most:
        note(f"… and {len(whys) - most} more pods; `nslab describe LAB pods` shows what happened to each")


def written_or_exit(failed: Mapping[str, Mapping[str, str]]) -> None:
    """Go on if kube-proxies could write all Services; else say what they could not, and end with 1."""
    import typer

    from nslab.views.changes import unwritten

    for line in unwritten(failed):
        note(f"nslab: {line}")
    if failed:
        raise typer.Exit(1)
