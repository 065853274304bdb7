"""Changing a running lab, as kubectl does a cluster: apply, delete, scale, set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click
import typer

from nslab.cli import complete
from nslab.cli.life import RunningLab, listener
from nslab.cli.output import Format, Output, document, listing, need_root, note, ready_or_exit, say
from nslab.errors import UsageError, error_text
from nslab.lab.settings import setting

if TYPE_CHECKING:
    from nslab.app.change import Changed

FileOption = Annotated[Path | None, typer.Option("--filename", "-f", help="A YAML file; - is standard input.")]


def get(
    name: RunningLab,
    objects: Annotated[list[str] | None, typer.Argument(metavar="KIND[/NAME]…")] = None,
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="List this namespace only; default: all.")] = "",
    output: Output = Format.TABLE,
) -> None:
    """List the objects of a running lab, or print them whole, as `kubectl get` does.

    -o yaml includes the fields that nslab does not act on. KIND NAME… names several objects of one kind.

    Example: nslab get calico-two-node service/svc-b -o yaml
    """
    need_root("get")
    from nslab.app.get import get as find

    found = find(name, objects or (), namespace)
    if output is Format.TABLE:
        heads = ({"namespace": "", **value["metadata"], "kind": value["kind"]} for value in found)
        rows = [{head: str(one.get(head, "")) for head in ("namespace", "kind", "name")} for one in heads]
        listing(rows, output, f"{name} has no such objects")
    else:
        named = len(objects or ()) > 1 or "/" in "".join(objects or ())
        many = {"apiVersion": "v1", "kind": "List", "items": found}
        document(found[0] if named and len(found) == 1 else many, output)


def apply(
    name: RunningLab,
    file: Annotated[Path, typer.Option("--filename", "-f", help="A YAML file; - is standard input.")],
) -> None:
    """Create or change objects of a running lab, as `kubectl apply` does.

    It takes Services, EndpointSlices, Deployments and Pods. The endpoints and the rules on every node follow; nslab
    does not cut connections to pods that stay.

    Example: nslab apply services-iptables -f web.yaml
    """
    need_root("apply")
    from nslab.app import change

    source = read_file(file) if str(file) == "-" else file
    _deferred()
    _say(change.apply(name, source, listener()))


def delete(
    name: RunningLab,
    objects: Annotated[list[str] | None, typer.Argument(metavar="KIND/NAME…", autocompletion=complete.objects)] = None,
    file: FileOption = None,
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="The namespace of KIND/NAME.")] = "default",
) -> None:
    """Delete objects of a running lab, by KIND/NAME or by file.

    Example: nslab delete services-iptables service/web
    """
    need_root("delete")
    from nslab.app import change

    if (file is None) == (not objects):
        raise UsageError("say what to delete: KIND/NAME…, or -f FILE")
    _deferred()
    _say(change.delete(name, file or objects or [], namespace, listener()))


def scale(
    name: RunningLab,
    deployment: Annotated[str, typer.Argument(metavar="deployment/NAME", autocompletion=complete.deployments)],
    replicas: Annotated[int, typer.Option("--replicas", min=0, max=1000, help="The new number of pods.")],
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="The Deployment's namespace.")] = "default",
) -> None:
    """Set the number of a Deployment's replicas.

    Example: nslab scale services-iptables deployment/web --replicas 3
    """
    need_root("scale")
    from nslab.app import change

    _deferred()
    _say(change.scale(name, deployment, replicas, namespace, listener()))


def set_(
    name: RunningLab,
    settings: Annotated[
        list[str],
        typer.Argument(metavar="proxy-mode=MODE|encapsulation=KIND|scheduler=NAME…", autocompletion=complete.settings),
    ],
    output: Output = Format.TABLE,
) -> None:
    """Change a setting of a running lab, and show what changed in the kernel.

    nslab removes what the old setting left in the kernel. Established connections survive where the kernel can keep
    them.

    Example: nslab set services-iptables proxy-mode=nftables
    """
    need_root("set")
    from nslab.app import change
    from nslab.views.delta import delta

    wanted = dict(map(setting, settings))
    _deferred()
    done = change.configure(name, wanted, listener())
    lines = list(delta(done.drift.plan))
    if output is not Format.TABLE:
        document({"lab": name, "changed": lines}, output)
    else:
        say("\n".join([f"{name}: {', '.join(settings)}; {len(done.drift.plan)} steps", *lines]))
    _warn(done)


def _deferred() -> None:
    from nslab.linux import signals

    signals.defer()  # to the end of this process


def _say(done: Changed) -> None:
    say("\n".join(done.lines))
    _warn(done)


def _warn(done: Changed) -> None:
    for node in done.late:
        note(f"nslab: the kube-proxy of {node} has not followed yet; `nslab logs` and `nslab diff` tell more")
    ready_or_exit(done.not_ready)


def read_file(file: Path) -> str:
    """The text of a file, or what is typed for `-`."""
    if str(file) == "-":
        return click.get_text_stream("stdin").read()
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error_text(error)}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} cannot be read: {error}") from error
