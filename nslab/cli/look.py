"""Looking: what labs there are, what runs, what this machine can do."""

from __future__ import annotations

import os
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nslab.cli.complete import SHELLS, running_labs, script, shipped_labs
from nslab.cli.life import EncapsulationOption, LabSource
from nslab.cli.output import Format, Output, document, listing, need_root, note, say
from nslab.dataclass import replace
from nslab.errors import Missing, UsageError
from nslab.exercise.types import Language
from nslab.quote import fill

if TYPE_CHECKING:
    from pathlib import Path

    from nslab.lab.types import Lab, Pod

SomeLab = Annotated[str | None, typer.Argument(metavar="LAB", autocompletion=running_labs)]


def labs(output: Output = Format.TABLE) -> None:
    """List the labs that come with nslab, by the numbers of their guides: the course.

    Example: nslab labs
    """
    from nslab.lab.find import shipped
    from nslab.linux import netns

    up = set(netns.labs())
    rows = [
        {"guide": lab.number, "name": lab.name, "up": "yes" if lab.name in up else "no", "shows": lab.about}
        for lab in shipped()
    ]
    listing(rows, output)


def show(
    source: LabSource,
    encapsulation: EncapsulationOption = None,
    guide: Annotated[bool, typer.Option("--guide", help="A learner's way through it, step by step.")] = False,
    lang: Annotated[Language, typer.Option("--lang", help="The guide's language: en or ko.")] = Language.ENGLISH,
) -> None:
    """Explain one lab: what it shows, and its picture; or its guide. Touches nothing.

    Example: nslab show calico-two-node --guide | less
    """
    from nslab.compiler.addresses import place
    from nslab.lab.find import about, find, shipped
    from nslab.lab.load import load
    from nslab.views.tree import picture, title

    path = find(source)
    lab = place(load(path, encapsulation))
    if guide:
        _guide(path, lab, lang)
    else:
        say(f"{title(lab)}\n\n{about(path)}\n\n{picture(lab)}\n\nFile: {path}")
        if number := next((one.number for one in shipped() if one.path == path), 0):
            say(f"Guide {number} of the course: {fill('nslab show {} --guide', source)} (in Korean: --lang ko)")


def _guide(path: Path, lab: Lab, language: Language) -> None:
    """Print a guide: as wide as the terminal, and no wider than one reads with ease."""
    from shutil import get_terminal_size

    from nslab.lab.course import course, guide_file
    from nslab.lab.find import FILE
    from nslab.views.guide import Page, render
    from nslab.views.markdown import lines

    file = path.parent / guide_file(language)
    # A file of another name has no guide: a README beside it would be about something else.
    if path.name != FILE or not file.exists():
        raise UsageError(f"{lab.name} has no guide ({file.name} beside its {FILE})")
    styles: dict[str, dict[str, Any]] = {"heading": {"bold": True}, "command": {"fg": "green"}}
    page = Page(course(language), path.resolve().parent.name, language)
    text = render(file.read_text(encoding="utf-8"), lab, str(file), page)
    for kind, line in lines(text, min(get_terminal_size((100, 24)).columns, 100)):
        say(line, **styles.get(kind, {}))


def ps(name: SomeLab = None, output: Output = Format.TABLE) -> None:
    """List the labs that are up, or the pods of one as kubectl shows them.

    Example: nslab ps calico-two-node
    """
    need_root("ps")
    from nslab.views.pods import columns

    if name is None:
        listing(_labs_up(), output, "no lab is up; `nslab labs` lists those that come with nslab")
    else:
        rows = _pods(name)
        listing(columns(rows) if output is Format.TABLE else rows, output, f"{name} has no pods")


def _labs_up() -> list[dict[str, Any]]:
    from nslab.linux import netns, owned, wishes
    from nslab.views.tree import count

    rows = []
    for lab in netns.labs():
        try:
            wished = count(wishes.wished(lab))
        except UsageError:
            wished = "half-built; `nslab down` takes it away"
        rows.append({"lab": lab, "holds": wished, "processes": len(owned.processes(lab))})
    return rows


def _pods(name: str) -> list[dict[str, Any]]:
    from nslab.linux import owned, status, wishes
    from nslab.linux.stopped import stopped
    from nslab.net.names import netns, pod_host
    from nslab.net.objects import Control, NodeAgent
    from nslab.views.pods import pod_row

    lab = wishes.wished(name)
    processes = owned.processes(name)
    # Of a container its node tells what it sees; it is the node's word that may be old.
    for record in (one for one in stopped(processes) if one.role in (NodeAgent.role, Control.role)):
        note(
            f"{record.ns.rpartition('.')[2]}: {record.name} is stopped (process {record.pid}); what it said last is old"
        )
    runs = {(record.ns, record.role): record for record in processes}
    said = status.read_status(name)
    ticks, now = os.sysconf("SC_CLK_TCK"), time.time()

    def row(pod: Pod) -> dict[str, Any]:
        ns = netns(lab.name, pod_host(pod.namespace, pod.name))
        up = [container.name for container in pod.containers if (ns, f"container/{container.name}") in runs]
        pause = runs.get((ns, "pause"))
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - pause.start / ticks if pause else 0.0
        seen = said.get(f"{pod.namespace}/{pod.name}", {})
        return pod_row(pod, seen, up, pause=pause is not None, age=age, now=now)

    return [row(pod) for pod in lab.pods]


def inspect(
    host: Annotated[str, typer.Argument(metavar="LAB[/HOST]", autocompletion=running_labs)],
    output: Output = Format.TABLE,
) -> None:
    """List every interface of a lab, or of one of its hosts, with addresses; with -o json the routes, too.

    Example: nslab inspect calico-two-node/node1
    """
    need_root("inspect")
    from nslab.linux import inspect, wishes

    lab, _, name = host.partition("/")
    wishes.wished(lab)
    rows = inspect.inspect(lab, [name] if name else [])
    if name and not rows:
        raise UsageError(f"{lab} has no host {name!r}")
    if output is Format.TABLE:
        rows = [{key: value for key, value in row.items() if key != "routes"} for row in rows]
    listing(rows, output)


class Document(StrEnum):
    """The documents of nslab's own."""

    LAB = "lab"
    CHECK = "check"


def schema(of: Annotated[Document, typer.Argument(metavar="lab|check")] = Document.LAB) -> None:
    """Print the JSON Schema of the Lab document, or of a check file, for an editor to complete it.

    Example: nslab schema > lab.schema.json
    """
    from nslab.exercise.read import check_schema
    from nslab.lab.stream import lab_schema

    document(lab_schema() if of is Document.LAB else check_schema(), Format.JSON)


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
    """Try each of the kernel's primitives in a throw-away namespace: what works here, what is missing, how to get it.

    With a lab, exits with 4 if that lab cannot run here.

    Example: nslab doctor calico-two-node
    """
    need_root("doctor")
    from nslab.linux import doctor

    wanted = None if source is None else _needed(source)
    findings = [finding for finding in doctor.examine() if wanted is None or finding.primitive.name in wanted]
    rows = [
        {
            "primitive": finding.primitive.name,
            "works": "yes" if finding.works else "no",
            "used for": finding.primitive.use,
            "what is wrong": finding.word,
            "way on": finding.advice,
        }
        for finding in findings
    ]
    listing(rows, output)
    if wanted is not None and not all(finding.works for finding in findings):
        way_on = fill("nslab vm -- nslab up {}", source)
        raise Missing(f"{source} cannot run here; a kernel that has everything: {way_on}")


def _needed(source: str) -> set[str]:
    """What a lab needs on this machine, with the stand-ins that it would use here."""
    from nslab.compiler import compile_lab
    from nslab.compiler.addresses import place
    from nslab.lab.find import find
    from nslab.lab.load import load
    from nslab.linux.cni import find_programs
    from nslab.linux.host import read_host
    from nslab.linux.netns import Namespaces
    from nslab.net.needs import needs

    lab = place(load(find(source)))
    with Namespaces() as spaces:
        return needs(compile_lab(lab, replace(read_host(spaces), programs=find_programs(lab))))
