"""Verbs that only read: the labs, the running ones, the capabilities of this machine."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nslab.cli.arguments import EncapsulationOption, LabOrNone, Output, file_of
from nslab.cli.complete import SHELLS, running_labs, script, shipped_labs
from nslab.cli.outcome import not_ready
from nslab.cli.output import Format, document, listing, markdown, need_root, note, say, terminal_columns
from nslab.cli.parsing import locale_language, running
from nslab.errors import Missing, UsageError
from nslab.exercises.types import Language
from nslab.quote import fill

if TYPE_CHECKING:
    from pathlib import Path

    from nslab.lab.types import Lab

SomeLab = Annotated[str | None, typer.Argument(metavar="LAB", autocompletion=running_labs, callback=running)]


def labs(output: Output = Format.TABLE) -> None:
    """List the labs that come with nslab, in the order of the course.

    Example: nslab labs
    """
    from nslab.lab.find import shipped
    from nslab.linux import netns

    up = set(netns.labs())
    rows = [
        {"guide": lab.number or None, "name": lab.name, "up": lab.name in up, "shows": lab.about} for lab in shipped()
    ]
    listing(rows, output)


def show(
    source: LabOrNone = None,
    encapsulation: EncapsulationOption = None,
    guide: Annotated[bool, typer.Option("--guide", help="Print the lab's guide, step by step.")] = False,
    step: Annotated[str, typer.Option("--step", help="Print this step of the guide only, as in 6.3.")] = "",
    lang: Annotated[
        Language | None, typer.Option("--lang", help="The guide's language: en or ko; default: your locale's.")
    ] = None,
) -> None:
    """Explain a lab and draw it, or print its guide. Needs no root and changes nothing.

    On a terminal, the guide opens in your PAGER, or in less. --step 6.3 without a lab means guide 6.

    Example: nslab show calico-two-node --guide
    """
    from nslab.admission.load import load
    from nslab.compiler.placement import assign_addresses
    from nslab.lab.find import about, shipped
    from nslab.views.tree import picture, title

    if source is None:
        source = step.partition(".")[0]
        if "." not in step:
            raise UsageError("say which lab: nslab show LAB, or nslab show --step 6.3 for a step of guide 6")
    path = file_of(source)
    lab = assign_addresses(load(path, encapsulation))
    if guide or step:
        _guide(path, lab, lang or locale_language(), step)
    else:
        say("\n\n".join(filter(None, (title(lab), about(path), picture(lab, terminal_columns()), f"File: {path}"))))
        if number := next((one.number for one in shipped() if one.path == path), 0):
            say(f"Guide {number} of the course: {fill('nslab show {} --guide', source)} (in Korean: --lang ko)")


def _guide(path: Path, lab: Lab, language: Language, step: str) -> None:
    """Print a guide, or one step of it."""
    from nslab.lab.course import guide_file
    from nslab.lab.find import FILE
    from nslab.views.guide import number_of, read
    from nslab.views.guide import step as step_of

    file = path.parent / guide_file(language)
    # A file with another name has no guide: a guide beside it would be about another lab.
    if path.name != FILE or not file.exists():
        raise UsageError(f"{lab.name} has no guide ({file.name} beside its {FILE})")
    text = read(file, lab, language)
    markdown(step_of(text, str(number_of(file)), step) if step else text)


def ps(name: SomeLab = None, output: Output = Format.TABLE) -> None:
    """List the running labs, or the pods of one as `kubectl get pods -o wide` does.

    Example: nslab ps calico-two-node
    """
    need_root("ps")
    from nslab.app import ps as use
    from nslab.objects.names import host
    from nslab.views.changes import ended_by
    from nslab.views.pods import columns

    if name is None:
        listing(use.running(), output, "no lab is up; `nslab labs` lists those that come with nslab")
        return
    found = use.pods(name)
    # A node's process reports the status of its containers, so a stopped one makes the report out of date.
    for process in found.silent:
        note(
            f"{host(process.ns)}: {process.name} is stopped (process {process.pid}); its last report may be out of date"
        )
    for node, error in found.ended:
        note(f"{ended_by(node, error)}; `nslab up {name}` starts it again")
    listing(columns(found.rows) if output is Format.TABLE else found.rows, output, f"{name} has no pods")
    if output is Format.TABLE:
        not_ready({f"{row['namespace']}/{row['name']}": row["why"] for row in found.rows if row["why"]})


def inspect(
    host: Annotated[str, typer.Argument(metavar="LAB[/HOST]", autocompletion=running_labs)],
    bgp: Annotated[bool, typer.Option("--bgp", help="Show the BGP sessions of a node, and what it learned.")] = False,
    output: Output = Format.TABLE,
) -> None:
    """List the interfaces and addresses of a lab, or of one of its hosts. -o json adds the routes.

    Example: nslab inspect calico-two-node/node1
    """
    need_root("inspect")
    from nslab.compiler.addresses import host_used
    from nslab.linux.netlink import inspect
    from nslab.linux.stored_lab import stored_lab

    typed, _, name = host.partition("/")
    lab = running(typed) or typed
    stored = stored_lab(lab)
    used = host_used(stored, name)
    if bgp:
        _bgp(stored, used, output)
        return
    rows = inspect.inspect(lab, [used] if name else [], routes=output is not Format.TABLE)
    if name and not rows:
        raise UsageError(f"{lab} has no host {name!r}")
    listing(rows, output)


def _bgp(lab: Lab, host: str, output: Format) -> None:
    """Print the sessions of a host's BIRD, and the routes that its peers announced."""
    from nslab.app.bgp import bgp_of

    found = bgp_of(lab, host)
    if output is not Format.TABLE:
        document({"sessions": found.sessions, "routes": found.routes}, output)
        return
    listing([*map(_headed, found.sessions)], output, "no session")
    say("")
    listing([*map(_headed, found.routes)], output, "no peer has announced a route")


def _headed(row: dict[str, Any]) -> dict[str, Any]:
    """A row with headings of words in place of JSON's names: `peer address` for peerAddress."""
    return {"".join(f" {letter}" if letter.isupper() else letter for letter in name): row[name] for name in row}


class OwnDocument(StrEnum):
    """nslab's own documents."""

    LAB = "lab"
    CHECK = "check"


def schema(of: Annotated[OwnDocument, typer.Argument(metavar="lab|check")] = OwnDocument.LAB) -> None:
    """Print the JSON Schema of the Lab document, or of a check file. Your editor can use it.

    Example: nslab schema > lab.schema.json
    """
    from nslab.exercises.read import check_schema
    from nslab.lab.stream import lab_schema

    document(lab_schema() if of is OwnDocument.LAB else check_schema(), Format.JSON)


def completion(shell: Annotated[str, typer.Argument(metavar="bash|zsh|fish")]) -> None:
    """Print the completion script for a shell.

    Example: nslab completion bash > /etc/bash_completion.d/nslab
    """
    if shell not in SHELLS:
        raise UsageError(f"no completion for {shell!r}; there is one for bash, zsh and fish")
    say(script(shell))


def doctor(
    source: Annotated[str | None, typer.Argument(metavar="LAB|FILE|DIR", autocompletion=shipped_labs)] = None,
    output: Output = Format.TABLE,
) -> None:
    """Show which kernel features work here, and how to get what is missing. It tries each in a throw-away namespace.

    With a lab, it exits with 4 if that lab cannot run here.

    Example: nslab doctor calico-two-node
    """
    need_root("doctor")
    from nslab.admission.load import load
    from nslab.app.plan import needed
    from nslab.lab.find import find
    from nslab.linux.observe import doctor

    wanted = None if source is None else needed(load(find(source)))
    findings = [finding for finding in doctor.examine() if wanted is None or finding.primitive.name in wanted]
    rows = [
        {
            "primitive": finding.primitive.name,
            "works": finding.works,
            "use": finding.primitive.use,
            "problem": finding.word,
            "workaround": finding.advice,
        }
        for finding in findings
    ]
    listing(rows, output)
    if wanted is not None and not all(finding.works for finding in findings):
        way_on = fill("nslab vm -- nslab up {}", source)
        raise Missing(f"{source} cannot run here; a kernel that has everything: {way_on}")
