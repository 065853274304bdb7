"""Changing a running lab, as kubectl does a cluster: apply, delete, scale, set; and what kube-proxy would write."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click
import typer

from nslab.cli.life import RunningLab, busy
from nslab.cli.output import Format, Output, Progress, document, need_root, note
from nslab.errors import UsageError
from nslab.lab.types import Encapsulation, ProxyMode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nslab.lab.types import Lab
    from nslab.linux.lifecycle import Changed
    from nslab.proxy.model import Proxy, Service

FileOption = Annotated[Path | None, typer.Option("--filename", "-f", help="A YAML file; - is standard input.")]


def apply(
    name: RunningLab,
    file: Annotated[Path, typer.Option("--filename", "-f", help="A YAML file; - is standard input.")],
) -> None:
    """Create or change Services, EndpointSlices, Deployments and Pods of a running lab, as `kubectl apply` does.

    Endpoints follow, and the rules on every node; connections to pods that stay are not cut.

    Example: nslab apply services-iptables -f web.yaml
    """
    need_root("apply")
    from nslab.lab.change import applied

    source = _read(file) if str(file) == "-" else file
    _say(_change(name, "apply", lambda lab: applied(lab, source)))


def delete(
    name: RunningLab,
    objects: Annotated[list[str] | None, typer.Argument(metavar="KIND/NAME…")] = None,
    file: FileOption = None,
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Where KIND/NAME is looked for.")] = "default",
) -> None:
    """Delete objects of a running lab, by KIND/NAME or those of a file.

    Example: nslab delete services-iptables service/web
    """
    need_root("delete")
    from nslab.lab.change import deleted

    if (file is None) == (not objects):
        raise UsageError("say what to delete: KIND/NAME…, or -f FILE")
    _say(_change(name, "delete", lambda lab: deleted(lab, file or objects or [], namespace)))


def scale(
    name: RunningLab,
    deployment: Annotated[str, typer.Argument(metavar="deployment/NAME")],
    replicas: Annotated[int, typer.Option("--replicas", min=0, max=1000, help="How many pods.")],
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="The Deployment's namespace.")] = "default",
) -> None:
    """Give a Deployment another number of replicas.

    Example: nslab scale services-iptables deployment/web --replicas 3
    """
    need_root("scale")
    from nslab.lab.change import scaled

    _say(_change(name, "scale", lambda lab: scaled(lab, deployment, replicas, namespace)))


def set_(
    name: RunningLab,
    settings: Annotated[list[str], typer.Argument(metavar="proxy-mode=MODE|encapsulation=KIND|scheduler=NAME…")],
    output: Output = Format.TABLE,
) -> None:
    """Change a setting of a running lab, and show what changed in the kernel.

    What the old setting had left is removed; established connections live on where the kernel can keep them.

    Example: nslab set services-iptables proxy-mode=ipvs
    """
    need_root("set")
    from nslab.linux import lifecycle, stop
    from nslab.views.delta import delta

    stop.defer()
    lab = _changed(lifecycle.wished(name), dict(map(_setting, settings)))
    done = lifecycle.up(lab, busy, Progress())
    lines = list(delta(done.difference.plan))
    if output is not Format.TABLE:
        document({"lab": name, "changed": lines}, output)
    else:
        click.echo("\n".join([f"{name}: {', '.join(settings)}; {len(done.difference.plan)} steps", *lines]))
    _unready(done.not_ready)


def render(
    file: Annotated[Path, typer.Option("--filename", "-f", help="A manifest, or a lab's file; - is standard input.")],
    node: Annotated[str, typer.Option("--node", help="The node whose kube-proxy it is.")],
    mode: Annotated[ProxyMode, typer.Option("--proxy-mode", help="Which one; none writes nothing.")],
    node_ip: Annotated[str | None, typer.Option("--node-ip", help="The node's address.")] = None,
    cluster_cidr: Annotated[str | None, typer.Option("--cluster-cidr", help="The pod network.")] = None,
    service_cidr: Annotated[str | None, typer.Option("--service-cidr", help="The service network.")] = None,
    scheduler: Annotated[str | None, typer.Option("--scheduler", help="IPVS's: rr, wrr, lc, sh or mh.")] = None,
    masquerade_all: Annotated[
        bool, typer.Option("--masquerade-all", help="Masquerade all that a Service gets.")
    ] = False,
) -> None:
    """Print what kube-proxy would write for a manifest's Services on a node. Needs no root, and touches nothing.

    Services and EndpointSlices are enough; with a Lab document, node and networks are known from it.

    Example: nslab render -f labs/services-iptables/lab.yaml --node node1 --proxy-mode nftables
    """
    from dataclasses import replace

    from nslab.proxy.render import render as text

    services, proxy = _known(_read(file), str(file), node)
    proxy = replace(
        proxy,
        mode=str(mode),
        addresses=(node_ip,) if node_ip else proxy.addresses,
        cluster_cidr=cluster_cidr or proxy.cluster_cidr,
        service_cidr=service_cidr or proxy.service_cidr,
        scheduler=scheduler or proxy.scheduler,
        masquerade_all=masquerade_all,
    )
    if mode is ProxyMode.USERSPACE and not proxy.addresses:
        raise UsageError("userspace mode leads to a port of the node: say the node's address (--node-ip)")
    click.echo("" if mode is ProxyMode.NONE else text(services, proxy), nl=False)


def _known(text: str, file: str, node: str) -> tuple[tuple[Service, ...], Proxy]:
    """The Services of a manifest, and what it tells of the node: much, if there is a Lab in it."""
    from nslab.compiler.addresses import place
    from nslab.compiler.services import proxy_of, resolve
    from nslab.lab.load import parse
    from nslab.lab.manifest import parse_manifest
    from nslab.net.needs import FULL
    from nslab.proxy.model import Proxy

    manifest = parse_manifest(text, file)
    if not manifest.is_lab:
        return resolve(manifest), Proxy(node, ())
    lab = place(parse(text, file))
    for found in lab.nodes:
        if found.name == node:
            return resolve(lab), proxy_of(lab, found, FULL, ())
    raise UsageError(f"{file} has no node {node!r}; there are {', '.join(known.name for known in lab.nodes)}")


def _change(name: str, verb: str, decide: Callable[[Lab], tuple[Lab, tuple[str, ...]]]) -> Changed:
    from nslab.linux import lifecycle, stop

    stop.defer()
    return lifecycle.change(name, verb, decide, busy, Progress())


def _say(done: Changed) -> None:
    click.echo("\n".join(done.lines))
    for node in done.late:
        note(f"nslab: the kube-proxy of {node} has not followed yet; `nslab logs` and `nslab diff` tell more")
    _unready(done.not_ready)


def _unready(containers: Sequence[object]) -> None:
    for container in containers:
        note(f"nslab: {container}")
    if containers:
        raise typer.Exit(1)


_SETTINGS: dict[str, tuple[str, ...]] = {
    "proxy-mode": tuple(map(str, ProxyMode)),
    "encapsulation": tuple(map(str, Encapsulation)),
    "scheduler": ("rr", "wrr", "lc", "sh", "mh"),
}


def _setting(text: str) -> tuple[str, str]:
    """NAME=VALUE, both known."""
    name, _, value = text.partition("=")
    known = _SETTINGS.get(name)
    if known is None:
        raise UsageError(f"{text!r} is no setting; there are {', '.join(f'{name}=…' for name in _SETTINGS)}")
    if value not in known:
        raise UsageError(f"{name} is one of {', '.join(known)}, not {value!r}")
    return name, value


def _changed(lab: Lab, settings: dict[str, str]) -> Lab:
    """The lab with other settings; refused, as its file would be, if they do not go together."""
    from dataclasses import replace

    from nslab.lab.dump import dump
    from nslab.lab.load import parse

    encapsulation = Encapsulation(settings.get("encapsulation", lab.encapsulation))
    mode = ProxyMode(settings.get("proxy-mode", lab.proxy_mode))
    # What pods were given stays where it can; that is for `up` to say.
    pods = tuple(replace(pod, assigned=None) for pod in lab.pods)
    lab = replace(lab, scheduler=settings.get("scheduler", lab.scheduler), pods=pods)
    return parse(dump(lab), lab.name, encapsulation, mode)


def _read(file: Path) -> str:
    if str(file) == "-":
        return click.get_text_stream("stdin").read()
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read: {error}") from error
