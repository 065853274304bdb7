"""Shell completion."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.lab.types import Lab

SHELLS = {
    "bash": "share/bash-completion/completions/nslab",
    "zsh": "share/zsh/site-functions/_nslab",
    "fish": "share/fish/vendor_completions.d/nslab.fish",
}
"""The shells, and the path below a prefix where each finds the script of `nslab completion`."""


def script(shell: str) -> str:
    """The completion script of a shell."""
    from typer._completion_shared import get_completion_script

    text = get_completion_script(prog_name="nslab", complete_var="_NSLAB_COMPLETE", shell=shell)
    if shell == "bash":
        # Bash takes `=` for a word: behind it the next one begins.
        text = text.replace(
            "COMPREPLY=(", 'local word=$COMP_CWORD; [ "${COMP_WORDS[word]}" != = ] || ((word++))\n    COMPREPLY=('
        ).replace("COMP_CWORD=$COMP_CWORD", "COMP_CWORD=$word")
    if shell == "zsh":
        # zsh loads the file from its function path at the first completion, as the body of the function `_nslab`.
        text += '\n\nif [ "$funcstack[1]" = _nslab ]; then _nslab_completion "$@"; fi'
    return text


def shipped_labs(incomplete: str) -> list[str]:
    """Labs that come with nslab."""
    from nslab.lab.find import names

    return [name for name in names() if name.startswith(incomplete)]


def running_labs(incomplete: str) -> list[str]:
    """Labs that are up."""
    from nslab.linux.netns import labs

    return [name for name in labs() if name.startswith(incomplete)]


def exercises(incomplete: str) -> list[str]:
    """Labs that are up and have goals."""
    from nslab.lab.find import FILE, check_file
    from nslab.linux.netns import folder

    up = running_labs(incomplete)
    try:
        return [name for name in up if check_file(folder(name) / FILE)]
    except PermissionError:  # only root can read a lab's folder
        return up


def hosts(incomplete: str) -> list[str]:
    """LAB/HOST of the labs that are up."""
    from nslab import rundir
    from nslab.linux.netns import IP_NETNS, entries, folder
    from nslab.runtime.trust import lab_name

    names = [ns.split(".", 2)[1:] for ns in entries(IP_NETNS) if ns.startswith("nslab.") and ns.count(".") > 1]
    lab, slash, _ = incomplete.partition("/")
    # A pod in its node's network has no namespace; each has its files.
    pods = [[lab, host] for host in entries(folder(lab) / rundir.PODS)] if slash and lab_name(lab) else []
    return sorted({host for host in map("/".join, [*names, *pods]) if host.startswith(incomplete)})


def probed(ctx: click.Context, incomplete: str) -> list[str]:
    """The hosts of the lab that is typed: a probe's sources and targets."""
    lab = _first(ctx)
    names = [host.removeprefix(f"{lab}/") for host in hosts(f"{lab}/{incomplete}")]
    return [name for name in names if name not in ("control", "switch")]


def capturable(ctx: click.Context, incomplete: str) -> list[str]:
    """The hosts of the lab that is typed."""
    lab = _first(ctx)
    return [host.removeprefix(f"{lab}/") for host in hosts(f"{lab}/{incomplete}")]


def containers(ctx: click.Context, incomplete: str) -> list[str]:
    """The containers of the pod that is typed."""
    from nslab.app.inside import find_pod

    lab, _, host = _first(ctx).partition("/")
    pods = [pod for desired in _stored(lab) if (pod := find_pod(desired.pods, host))]
    return [one.name for pod in pods for one in pod.containers if one.name.startswith(incomplete)]


def objects(ctx: click.Context, incomplete: str) -> list[str]:
    """KIND/NAME of what the lab that is typed holds, in the namespace that is."""
    from nslab.lab.dump import documents

    namespace = ctx.params.get("namespace")
    found = [one for desired in _stored(_first(ctx)) for one in documents(desired).objects()]
    there = [one for one in found if not namespace or one.namespace == namespace]
    return [name for one in there if (name := f"{one.kind.lower()}/{one.name}").startswith(incomplete)]


def deployments(ctx: click.Context, incomplete: str) -> list[str]:
    """deployment/NAME of the lab that is typed."""
    return [name for name in objects(ctx, incomplete) if name.startswith("deployment/")]


def settings(ctx: click.Context, incomplete: str) -> list[str]:
    """NAME=VALUE; the value alone, where the shell takes `=` for a word of its own."""
    from nslab.admission.settings import SETTINGS

    typed: list[str] = ctx.params.get("settings") or []
    *_, name, sign = ["", "", *typed]
    if sign == "=":
        return [value for value in SETTINGS.get(name, ()) if value.startswith(incomplete)]
    pairs = [f"{name}={value}" for name, values in SETTINGS.items() for value in values]
    return [pair for pair in pairs if pair.startswith(incomplete)]


def formats(incomplete: str) -> list[str]:
    """The output formats of `get`."""
    from nslab.views.printers import PLAIN, TEMPLATES

    return [one for one in (*PLAIN, *(f"{name}=" for name in TEMPLATES)) if one.startswith(incomplete)]


def _first(ctx: click.Context) -> str:
    """The first argument: behind an option that still lacks its value click has put it nowhere."""
    typed = next((ctx.params[name] for name in ("name", "host", "pod") if ctx.params.get(name)), "")
    return str(typed or next(iter(ctx.args), ""))


def _stored(lab: str) -> Iterator[Lab]:
    """The running lab, if it is there and may be read."""
    from nslab.errors import NslabError
    from nslab.linux.stored_lab import stored_lab

    with contextlib.suppress(NslabError, OSError):
        yield stored_lab(lab)
