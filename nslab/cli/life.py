"""The life of a lab: plan, up, diff, down."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from nslab.cli.complete import running_labs, shipped_labs
from nslab.cli.output import (
    Format,
    Output,
    Progress,
    bullets,
    document,
    need_root,
    note,
    ready_or_exit,
    say,
    written_or_exit,
)
from nslab.errors import UsageError
from nslab.lab.types import Encapsulation, ProxyMode
from nslab.objects.names import pod_host
from nslab.quote import fill

if TYPE_CHECKING:
    from pathlib import Path

    from nslab.app.drift import Drift
    from nslab.app.listener import Listener
    from nslab.app.up import Up
    from nslab.lab.types import Lab
    from nslab.linux.owned import Gone

LabSource = Annotated[str, typer.Argument(metavar="LAB|FILE|DIR|-", autocompletion=shipped_labs)]
LabOrNone = Annotated[str | None, typer.Argument(metavar="LAB|FILE|DIR|-", autocompletion=shipped_labs)]
RunningLab = Annotated[str, typer.Argument(metavar="LAB", autocompletion=running_labs)]
EncapsulationOption = Annotated[
    Encapsulation | None,
    typer.Option("--encapsulation", help="Use this Calico encapsulation instead of the file's."),
]
ProxyOption = Annotated[
    ProxyMode | None,
    typer.Option("--proxy-mode", help="Use this kube-proxy mode instead of the file's."),
]


def plan(
    source: LabSource,
    encapsulation: EncapsulationOption = None,
    proxy_mode: ProxyOption = None,
    script: Annotated[bool, typer.Option("--script", help="Print a bash script that builds the same lab.")] = False,
    output: Output = Format.TABLE,
) -> None:
    """Print every step of a lab as a shell command. It needs no root and changes nothing.

    The commands stand under the component that does them on a real node.

    Example: nslab plan calico-two-node --encapsulation VXLAN
    """
    from nslab.app.plan import plan as planned
    from nslab.objects import script as shell
    from nslab.objects.names import netns
    from nslab.quote import comment

    lab, notes = _noted(source, encapsulation, proxy_mode)
    for line in notes:
        note(line)
    steps = planned(lab, listener())
    if script:
        say(shell.script(steps, f"The lab {lab.name}.", netns(lab.name, "")), nl=False)
    elif output is not Format.TABLE:
        document([{"by": step.obj.by, "commands": shell.commands(step)} for step in steps], output)
    else:
        heading = ""
        for by, lines in shell.numbered(steps):
            if by != heading:
                heading = by
                say(f"\n{comment(by)}", fg="cyan")
            say("\n".join(lines))


def up(
    source: LabOrNone = None,
    filename: Annotated[
        str, typer.Option("--filename", "-f", help="The same, as kubectl has it: a FILE, DIR or -.")
    ] = "",
    encapsulation: EncapsulationOption = None,
    proxy_mode: ProxyOption = None,
) -> None:
    """Bring a lab up, or repair or change a running one.

    On a running lab, it repairs what was changed by hand, and applies what changed in the file. If the kernel
    refuses a step, or you interrupt it, nslab undoes the steps before it. --encapsulation and --proxy-mode hold for
    this call: a later `up` without them makes the lab again what its file says.

    Example: nslab up calico-two-node
    """
    if bool(source) == bool(filename):
        raise UsageError("say which lab: nslab up LAB, or nslab up -f FILE")
    source = source or filename
    need_root("up")
    from nslab.app.up import up as bring_up
    from nslab.exercises.read import goals_beside
    from nslab.linux import signals

    signals.defer()  # until the end of this process: once a lab is up, a signal does not remove it
    lab, notes = _noted(source, encapsulation, proxy_mode)
    goals = goals_beside(file_of(source), lab)
    done = bring_up(lab, listener(), goals)
    _told(done)
    for line in notes:
        note(line)
    written_or_exit(done.failed)
    ready_or_exit(done.not_ready)


def diff(name: RunningLab, output: Output = Format.TABLE) -> None:
    """Show where a running lab differs from its file, in the cluster's terms. `nslab up` repairs it.

    Exits with 1 if anything differs. It lists rules and interfaces that are not nslab's; `up` leaves those alone.

    Example: nslab diff calico-two-node
    """
    need_root("diff")
    from nslab.app.drift import drift_of
    from nslab.views.changes import changes, mending, standing_still

    found = drift_of(name)
    lines = [*changes(found.lab, found.plan), *standing_still(found.stopped)]
    if output is not Format.TABLE:
        document({"differences": lines, "commands": mending(found.plan), "strangers": found.unmanaged}, output)
    else:
        say("\n".join(lines) if lines else f"{name} is as it should be")
        for ns, unmanaged in found.unmanaged.items():
            say(f"not nslab's, left alone, in {ns}:")
            bullets(unmanaged, 20, "more")
    if lines:
        raise typer.Exit(1)


def down(
    name: Annotated[str | None, typer.Argument(metavar="LAB", autocompletion=running_labs)] = None,
    every: Annotated[bool, typer.Option("--all", help="Take away every lab on this machine.")] = False,
) -> None:
    """Take a lab away: its processes, its namespaces, its folder. It is no error if the lab does not run.

    Example: nslab down calico-two-node
    """
    need_root("down")
    from nslab.app.down import down as take_down
    from nslab.linux import owned

    if (name is None) == (not every):
        raise UsageError("say which lab to take down, or --all")
    labs = owned.everywhere() if name is None else [name]
    if not labs:
        say("no lab is up")
    downs: dict[str, Gone] = {}
    try:
        for lab in labs:
            downs[lab] = take_down(lab, listener())
    finally:
        _told_down(downs)


def _told_down(downs: dict[str, Gone]) -> None:
    for lab, gone in downs.items():
        if gone.namespaces or gone.processes:
            say(f"{lab} is down: {gone.namespaces} namespaces and {gone.processes} processes ended")
        else:
            say(f"{lab} is not there")
        for refusal in gone.refused:
            note(f"nslab: {refusal}")


def _noted(
    source: str, encapsulation: Encapsulation | None, proxy_mode: ProxyMode | None
) -> tuple[Lab, tuple[str, ...]]:
    """Load a lab; return it and the notes for the end. Prints warnings about its file and this machine's limits."""
    from nslab.app.plan import beyond
    from nslab.lab.load import load_with_warnings

    lab, warnings = load_with_warnings(file_of(source), encapsulation, proxy_mode)
    for warning in (*(one for one in warnings if one.position.line), *beyond(lab)):
        note(f"{warning}")
    return lab, tuple(one.sentence for one in warnings if not one.position.line)


def file_of(source: str) -> Path:
    """The file of a lab; for a running lab without a file of that name, its stored desired state."""
    from nslab.lab.find import find
    from nslab.linux.netns import folder, labs

    try:
        return find(source)
    except UsageError:
        if source not in labs():
            raise
        kept = folder(source) / "lab.yaml"
        if not os.access(folder(source), os.X_OK):
            raise UsageError(f"{source} runs, but only root can read its file: put sudo before it") from None
        if kept.exists():
            return kept
        raise


def listener() -> Listener:
    """A listener that prints to standard error."""
    from nslab.app.listener import Listener

    return Listener(lambda owner: note(f"waiting for {owner}"), Progress(), note)


def _told(done: Up) -> None:
    """Print what was done, a picture of the new lab, and the next commands, on less than a screen."""
    from nslab.views.changes import changes, standing_still
    from nslab.views.tree import count, picture, title

    drift, lab = done.drift, done.drift.lab
    if done.fresh:
        say(f"{title(lab)}; up in {done.seconds:.2f} s, {len(drift.plan)} steps")
    elif drift.plan or drift.stopped:
        say(f"{lab.name}: mended in {done.seconds:.2f} s")
        bullets([*standing_still(drift.stopped), *changes(lab, drift.plan)], 20, "more differences")
    else:
        say(f"{lab.name} is as it should be ({count(lab)})")
    for line in _notes(drift):
        note(line)
    if done.fresh:
        say(f"\n{picture(lab)}\n\nNext:")
        for command in _next(lab):
            say(f"  {command}")


def _notes(drift: Drift) -> list[str]:
    from nslab.objects.process import TunnelAgent

    notes = []
    if any(isinstance(obj, TunnelAgent) for obj in drift.want):
        notes.append("this kernel has no ipip driver: a process carries tunl0's packets (the same on the wire, slower)")
    if drift.host.iptables != "iptables":
        notes.append(f"this kernel takes no rules of `iptables` here: list them with `{drift.host.iptables}`")
    return notes


def _next(lab: Lab) -> list[str]:
    """Three useful next commands."""
    from nslab.compiler.networks import network
    from nslab.lab.find import FILE, check_file
    from nslab.linux.netns import folder

    goals = check_file(folder(lab.name) / FILE)
    if goals or network(lab).BY_HAND:
        test = fill("nslab {} {}", "check" if goals else "probe", lab.name)
        return [test, fill("nslab shell {}", f"{lab.name}/{lab.nodes[0].name}"), fill("nslab down {}", lab.name)]
    commands = [fill("nslab probe {}", lab.name)]
    # kube-dns has a port, too, but does not serve HTTP.
    own = [pod for pod in lab.pods if pod.namespace != "kube-system"]
    servers = [pod for pod in own if any(container.ports for container in pod.containers)]
    pairs = [(near, far) for far in servers for near in reversed(lab.pods) if near.node != far.node] or [
        (pod, pod) for pod in servers
    ]
    if pairs:
        near, far = pairs[0]
        port = next(port.port for container in far.containers for port in container.ports)
        host, url = f"{lab.name}/{pod_host(near.namespace, near.name)}", f"http://{far.assigned}:{port}/hostname"
        commands.append(fill("nslab exec {} -- curl -s {}", host, url))
    else:
        commands.append(fill("nslab inspect {}", lab.name))
    return [*commands, fill("nslab down {}", lab.name)]
