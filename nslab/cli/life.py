"""The life of a lab: plan, up, diff, down."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from nslab.cli.arguments import EncapsulationOption, LabOrNone, LabSource, Output, ProxyOption, RunningLab, file_of
from nslab.cli.complete import running_labs
from nslab.cli.outcome import ready_or_exit, unready_note, written_or_exit
from nslab.cli.output import Format, Progress, document, need_root, note, say
from nslab.cli.parsing import running
from nslab.cli.up_report import has_guide, print_unmanaged, print_up
from nslab.errors import UsageError
from nslab.lab.types import Encapsulation, ProxyMode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nslab.app.listener import Listener
    from nslab.lab.types import Lab
    from nslab.linux.owned import Gone
    from nslab.objects.unmanaged import Unmanaged


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
        say(shell.script(steps, f"The lab {lab.name}.", netns(lab.name, ""), sys.executable), nl=False)
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
    reset: Annotated[bool, typer.Option("--reset", help="Take away what in it is not nslab's, after asking.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --reset: do not ask.")] = False,
) -> None:
    """Bring a lab up, or repair or change a running one.

    On a running lab, it repairs what was changed by hand (policies of built-in chains and settings of the lab's
    interfaces included), and applies what changed in the file. It lists what in the lab is not nslab's, and leaves that
    alone; --reset takes it away. If the kernel refuses a step, or you interrupt it, nslab undoes the steps before it.
    --encapsulation and --proxy-mode hold for this call: a later `up` without them makes the lab again what its file
    says.

    Example: nslab up calico-two-node
    """
    if bool(source) == bool(filename):
        raise UsageError("say which lab: nslab up LAB, or nslab up -f FILE")
    source = source or filename
    if yes and not reset:
        raise UsageError("--yes goes with --reset")
    need_root("up")
    from nslab.linux.processes.spawner import Interpreter

    with Interpreter() as early:  # it imports while this process does, and reads the lab
        from nslab.app.up import up as bring_up
        from nslab.exercises.beside import goals_beside
        from nslab.linux import signals

        lab, notes = _noted(source, encapsulation, proxy_mode)
        unwanted = _to_take_away(lab.name, yes=yes) if reset else ()
        signals.defer()  # until the end of this process: once a lab is up, a signal does not remove it
        goals = goals_beside(file_of(source), lab)
        done = bring_up(lab, listener(), goals, unwanted, early)
    options = {"encapsulation": encapsulation, "proxy-mode": proxy_mode}
    given = {name for name, value in options.items() if value}
    print_up(done, guide=has_guide(file_of(source), done.drift.lab), given=given)
    for line in notes:
        note(line)
    written_or_exit(done.failed)
    ready_or_exit((*done.not_ready, *done.stuck), unready_note(lab.name, done.unready))


def _to_take_away(name: str, *, yes: bool) -> Sequence[Unmanaged]:
    """What of a running lab is not nslab's, shown, and agreed to."""
    from nslab.app.drift import drift_of
    from nslab.linux.netns import labs

    if not yes and not sys.stdin.isatty():
        raise UsageError("--reset asks before it takes anything away, and there is no terminal to ask on: add --yes")
    if name not in labs():
        return ()
    others = drift_of(name).others
    print_unmanaged(others, "not nslab's")
    if others and not yes and not typer.confirm("Take all of this away?"):
        note("nothing was taken away")
        raise typer.Exit(1)
    return others


def diff(name: RunningLab, output: Output = Format.TABLE) -> None:
    """Show where a running lab differs from its file, in the cluster's terms. `nslab up` repairs it.

    Exits with 1 if anything differs. It lists what in the lab's namespaces is not nslab's, of whatever kind (rules, nft
    tables, routes, interfaces, qdiscs, processes …). `up` leaves that alone, `up --reset` takes it away.

    Example: nslab diff calico-two-node
    """
    need_root("diff")
    from nslab.app.drift import drift_of
    from nslab.views.changes import changes, mending, standing_still

    found = drift_of(name)
    lines = [*changes(found.lab, found.plan), *standing_still(found.stopped, found.ended, idle=found.idle)]
    if output is not Format.TABLE:
        document({"differences": lines, "commands": mending(found.plan), "unmanaged": found.unmanaged}, output)
    else:
        say("\n".join(lines) if lines else f"{name} is as it should be")
        print_unmanaged(found.others, "not nslab's, left alone")
    if lines:
        raise typer.Exit(1)


def down(
    name: Annotated[
        str | None, typer.Argument(metavar="LAB|FILE|DIR", autocompletion=running_labs, callback=running)
    ] = None,
    filename: Annotated[str, typer.Option("--filename", "-f", help="Take away the lab of a FILE or DIR.")] = "",
    every: Annotated[bool, typer.Option("--all", help="Take away every lab on this machine.")] = False,
) -> None:
    """Take a lab away: its processes, its namespaces, its folder.

    It is no error if the lab does not run. nslab exits with 1 if neither a lab nor a file has that name.

    Example: nslab down calico-two-node
    """
    need_root("down")
    from nslab.app.down import down as take_down
    from nslab.linux import owned

    if [bool(name), bool(filename), every].count(True) != 1:
        raise UsageError("say which lab to take down: nslab down LAB, nslab down -f FILE, or nslab down --all")
    labs, known = (owned.everywhere(), True) if every else _meant(filename or name or "")
    if not labs:
        say("no lab is up")
    downs: dict[str, Gone] = {}
    try:
        for lab in labs:
            downs[lab] = take_down(lab, listener())
    finally:
        _print_down(downs, known)
    if not (known or any(map(_was_there, downs.values()))):
        raise typer.Exit(1)


def _meant(source: str) -> tuple[list[str], bool]:
    """The lab to take down, and whether there is one of that name, running or not: it may be in a file or a folder."""
    from nslab.admission.load import name_of
    from nslab.lab.find import find, names
    from nslab.linux.netns import labs

    if source in labs() or source in names():
        return [source], True
    try:
        file = find(source)
    except UsageError:
        return [source], False
    return [name_of(file)], True


def _print_down(downs: dict[str, Gone], known: bool) -> None:
    from nslab.linux.stored_lab import no_such_lab

    for lab, gone in downs.items():
        if _was_there(gone):
            say(f"{lab} is down: {gone.namespaces} namespaces and {gone.processes} processes ended")
        elif known:
            say(f"{lab} is not there")
        else:
            note(f"nslab: {no_such_lab(lab)}")
        for refusal in gone.refused:
            note(f"nslab: {refusal}")


def _was_there(gone: Gone) -> bool:
    return bool(gone.namespaces or gone.processes)


def _noted(
    source: str, encapsulation: Encapsulation | None, proxy_mode: ProxyMode | None
) -> tuple[Lab, tuple[str, ...]]:
    """Load a lab; return it and the notes for the end. Prints warnings about its file and this machine's limits."""
    from nslab.admission.load import load_with_warnings
    from nslab.app.plan import beyond

    lab, warnings = load_with_warnings(file_of(source), encapsulation, proxy_mode)
    for warning in (*(one for one in warnings if one.position.line), *beyond(lab)):
        note(f"{warning}")
    return lab, tuple(one.sentence for one in warnings if not one.position.line)


def listener() -> Listener:
    """A listener that prints to standard error."""
    from nslab.app.listener import Listener

    return Listener(lambda owner: note(f"waiting for {owner}"), Progress(), note)
