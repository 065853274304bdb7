"""Looking: what labs there are, what runs, what this machine can do, who reaches whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import click
import typer

from nslab.cli.complete import running_labs, shipped_labs
from nslab.cli.life import EncapsulationOption, LabSource, RunningLab
from nslab.cli.output import Format, Output, document, listing, need_root
from nslab.errors import Missing, UsageError

if TYPE_CHECKING:
    from nslab.lab.types import Pod

SomeLab = Annotated[str | None, typer.Argument(metavar="LAB", autocompletion=running_labs)]


def labs(output: Output = Format.TABLE) -> None:
    """List the labs that come with nslab.

    Example: nslab labs
    """
    from nslab.lab.find import shipped
    from nslab.linux import netns

    up = set(netns.labs())
    rows = [{"name": lab.name, "up": "yes" if lab.name in up else "no", "shows": lab.about} for lab in shipped()]
    listing(rows, output)


def show(source: LabSource, encapsulation: EncapsulationOption = None) -> None:
    """Explain one lab: what it shows, and its picture. Touches nothing.

    Example: nslab show calico-two-node
    """
    from nslab.compiler.addresses import place
    from nslab.lab.find import about, find
    from nslab.lab.load import load
    from nslab.views.tree import picture, title

    path = find(source)
    lab = place(load(path, encapsulation))
    click.echo(f"{title(lab)}\n\n{about(path)}\n\n{picture(lab)}\n\nFile: {path}")


def ps(name: SomeLab = None, output: Output = Format.TABLE) -> None:
    """List the labs that are up, or the pods of one.

    Example: nslab ps calico-two-node
    """
    need_root("ps")
    if name is None:
        listing(_labs_up(), output, "no lab is up; `nslab labs` lists those that come with nslab")
    else:
        listing(_pods(name), output, f"{name} has no pods")


def _labs_up() -> list[dict[str, Any]]:
    from nslab.linux import lifecycle, netns, owned
    from nslab.views.tree import count

    rows = []
    for lab in netns.labs():
        try:
            wished = count(lifecycle.wished(lab))
        except UsageError:
            wished = "half-built; `nslab down` takes it away"
        rows.append({"lab": lab, "holds": wished, "processes": len(owned.processes(lab))})
    return rows


def _pods(name: str) -> list[dict[str, Any]]:
    from nslab.linux import lifecycle, owned
    from nslab.net.names import netns, pod_host

    lab = lifecycle.wished(name)
    runs = {(record.ns, record.role): record.pid for record in owned.processes(name)}

    def row(pod: Pod) -> dict[str, Any]:
        ns = netns(lab.name, pod_host(pod.namespace, pod.name))
        up = [container for container in pod.containers if (ns, f"container/{container.name}") in runs]
        return {
            "namespace": pod.namespace,
            "name": pod.name,
            "containers": f"{len(up)}/{len(pod.containers)}",
            "status": "Running" if len(up) == len(pod.containers) and (ns, "pause") in runs else "NotRunning",
            "ip": str(pod.assigned),
            "node": pod.node,
            "pause": runs.get((ns, "pause"), "-"),
        }

    return [row(pod) for pod in lab.pods]


def inspect(
    host: Annotated[str, typer.Argument(metavar="LAB[/HOST]", autocompletion=running_labs)],
    output: Output = Format.TABLE,
) -> None:
    """List every interface of a lab, or of one of its hosts, with addresses; with -o json the routes, too.

    Example: nslab inspect calico-two-node/node1
    """
    need_root("inspect")
    from nslab.linux import inspect, lifecycle

    lab, _, name = host.partition("/")
    lifecycle.wished(lab)
    rows = inspect.inspect(lab, [name] if name else [])
    if name and not rows:
        raise UsageError(f"{lab} has no host {name!r}")
    if output is Format.TABLE:
        rows = [{key: value for key, value in row.items() if key != "routes"} for row in rows]
    listing(rows, output)


def schema() -> None:
    """Print the JSON Schema of the Lab document, for an editor to complete it.

    Example: nslab schema > lab.schema.json
    """
    from nslab.lab.schema import schema

    document(schema(), Format.JSON)


def completion(shell: Annotated[str, typer.Argument(metavar="bash|zsh|fish")]) -> None:
    """Print the completion script for a shell.

    Example: nslab completion bash > /etc/bash_completion.d/nslab
    """
    from typer._completion_shared import get_completion_script

    if shell not in ("bash", "zsh", "fish"):
        raise UsageError(f"no completion for {shell!r}; there is one for bash, zsh and fish")
    click.echo(get_completion_script(prog_name="nslab", complete_var="_NSLAB_COMPLETE", shell=shell))


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
        raise Missing(f"{source} cannot run here; a kernel that has everything: nslab vm -- nslab up {source}")


def _needed(source: str) -> set[str]:
    """What a lab needs on this machine, with the stand-ins that it would use here."""
    from nslab.compiler import compile_lab
    from nslab.compiler.addresses import place
    from nslab.lab.find import find
    from nslab.lab.load import load
    from nslab.linux.host import read_host
    from nslab.linux.netns import Namespaces
    from nslab.net.needs import needs

    with Namespaces() as spaces:
        return needs(compile_lab(place(load(find(source))), read_host(spaces)))


def probe(name: RunningLab, output: Output = Format.TABLE) -> None:
    """Who reaches whom, against who should."""
    raise NotImplementedError
