"""Change a running lab, as kubectl does a cluster: get, apply, delete, scale; and its settings: set."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import click
import typer

from nslab.admission.settings import setting
from nslab.cli import complete
from nslab.cli.arguments import Output, RunningLab
from nslab.cli.life import listener
from nslab.cli.outcome import not_ready, ready_or_exit, unready_note, written_or_exit
from nslab.cli.output import Format, document, need_root, note, pause, say
from nslab.errors import UsageError, error_text
from nslab.lab.selection import resource

if TYPE_CHECKING:
    from nslab.app.change import Changed
    from nslab.views.printers import Printer

WaitOption = Annotated[
    bool, typer.Option("--wait", help="Wait until containers are ready, rollouts are done, and pods that go are gone.")
]
FileOption = Annotated[Path | None, typer.Option("--filename", "-f", help="A YAML file; - is standard input.")]


_FORMATS = "table, wide, yaml, json, name, jsonpath=TEMPLATE or custom-columns=HEADER:PATH,…"
ObjectsArgument = Annotated[list[str] | None, typer.Argument(metavar="KIND[/NAME]…")]
NamespaceOption = Annotated[str, typer.Option("--namespace", "-n", help="The namespace; default: default.")]
EveryNamespace = Annotated[bool, typer.Option("--all-namespaces", "-A", help="All namespaces.")]
SelectorOption = Annotated[str, typer.Option("--selector", "-l", help="Labels: app=web,tier!=back.")]


def get(
    name: RunningLab,
    objects: ObjectsArgument = None,
    namespace: NamespaceOption = "",
    everywhere: EveryNamespace = False,
    selector: SelectorOption = "",
    labels: Annotated[bool, typer.Option("--show-labels", help="Add a column with the labels.")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Then print each object that changes.")] = False,
    fields: Annotated[
        str, typer.Option("--field-selector", help="Fields: status.phase=Running,spec.nodeName!=node1.")
    ] = "",
    order: Annotated[str, typer.Option("--sort-by", metavar="PATH", help="Sort by a field: .metadata.name.")] = "",
    no_headers: Annotated[bool, typer.Option("--no-headers", help="Print no headers.")] = False,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FORMAT", help=_FORMATS, autocompletion=complete.formats)
    ] = "table",
) -> None:
    """List the objects of a running lab, or print them whole, as `kubectl get` does.

    KIND is pods, svc, deploy, nodes, events, all …; without one, it lists every object of the lab. -o yaml includes the
    fields that nslab does not act on. Below pods stands why some are not ready. A node's process keeps its Events as
    long as it runs, the lab the last ones of its controllers.
    A TEMPLATE is kubectl's: {range .items[*]}{.metadata.name}{" "}{end}.

    Example: nslab get calico-two-node pods -o wide
    """
    need_root("get")
    from nslab.app.get import get as find
    from nslab.app.ps import reasons
    from nslab.views.listing import Listing
    from nslab.views.printers import printer, sorted_by

    how = printer(output)
    place = "" if everywhere or (not objects and not namespace) else namespace or "default"
    found = find(name, objects or (), place, selector, fields)
    found = sorted_by(order, found) if order else found
    if how.format not in ("table", "wide"):
        _print_whole(how, found, one=len(objects or ()) > 1 or "/" in "".join(objects or ()), headers=not no_headers)
        return
    listing = Listing(
        namespaces=not place, wide=how.format == "wide", labels=labels, kinds=not objects, headers=not no_headers
    )
    text = listing.text(found, time.time())
    say(text) if text else note(f"No resources found{f' in {place} namespace' if place else ''}.")
    if how.format == "table" and objects:
        not_ready(reasons(name, [one for one in found if one["kind"] == "Pod"]))
    while watch:
        pause(0.5)
        for line in listing.changed(find(name, objects or (), place, selector, fields), time.time()):
            say(line)


def _print_whole(how: Printer, found: list[dict[str, Any]], *, one: bool, headers: bool) -> None:
    """Objects in a format that is no table of kubectl's; `one`: the command line means one object, and no list."""
    from nslab.views import printers

    value = found[0] if one and len(found) == 1 else {"apiVersion": "v1", "kind": "List", "items": found}
    if how.format == "name":
        say("\n".join(f"{resource(each)}/{each['metadata']['name']}" for each in found), nl=bool(found))
    elif how.format == printers.COLUMNS:
        text = printers.custom_columns(how.template, found, headers=headers)
        say(text, nl=bool(text))
    elif how.template:
        say(printers.by_template(how, value), nl=False)
    else:
        document(value, Format(how.format))


def describe(
    name: RunningLab,
    objects: ObjectsArgument = None,
    namespace: NamespaceOption = "",
    selector: SelectorOption = "",
) -> None:
    """Show objects of a running lab in detail, with what belongs to them, as `kubectl describe` does.

    Example: nslab describe calico-two-node service/svc-b
    """
    need_root("describe")
    from nslab.app.get import live_objects
    from nslab.lab.selection import matching, selected
    from nslab.views.describe import describe as described

    if not objects:
        raise UsageError("say what to describe: KIND[/NAME]…")
    there = live_objects(name, events=True)
    found = matching(selected(there, objects, namespace or "default"), selector)
    if not found:
        note(f"No resources found in {namespace or 'default'} namespace.")
    say("\n\n\n".join(described(one, there, time.time()) for one in found), nl=bool(found))


def apply(
    name: RunningLab,
    file: Annotated[Path, typer.Option("--filename", "-f", help="A YAML file; - is standard input.")],
    wait: WaitOption = False,
) -> None:
    """Create or change objects of a running lab, as `kubectl apply` does.

    It takes all kinds of objects that a lab file may have. The endpoints and the rules on every node follow; nslab does
    not cut connections to pods that stay. New pods may not be ready yet when it returns (`nslab ps`, --wait).
    A changed template of a Deployment, StatefulSet or DaemonSet is rolled out: old pods go as new ones are ready.
    Containers that it replaces have their pod's grace period to end.

    Example: nslab apply services-iptables -f web.yaml
    """
    need_root("apply")
    from nslab.app import change

    source = read_file(file) if str(file) == "-" else file
    _deferred()
    _say(change.apply(name, source, listener(), wait=wait))


def delete(
    name: RunningLab,
    objects: Annotated[list[str] | None, typer.Argument(metavar="KIND/NAME…", autocompletion=complete.objects)] = None,
    file: FileOption = None,
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="The namespace of KIND/NAME.")] = "default",
    selector: SelectorOption = "",
    every: Annotated[bool, typer.Option("--all", help="All objects of the KIND in the namespace.")] = False,
    wait: Annotated[
        str, typer.Option("--wait", metavar="true|false", help="Whether to wait until the pods are gone.")
    ] = "true",
    grace: Annotated[
        int, typer.Option("--grace-period", help="Seconds that pods have to end; -1: what each of them says.")
    ] = -1,
    now: Annotated[bool, typer.Option("--now", help="The same as --grace-period=1.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Kill pods at once.")] = False,
) -> None:
    """Delete objects of a running lab, by KIND/NAME or by file.

    A pod gets SIGTERM, and SIGKILL when its grace period is over (terminationGracePeriodSeconds, 30 s by default).
    Meanwhile `nslab ps` shows it as Terminating, and it is an endpoint that serves where no other is ready. Its
    controller makes another pod in its place.

    Example: nslab delete services-iptables service/web
    """
    need_root("delete")
    from nslab.app import change

    if (file is None) == (not objects):
        raise UsageError("say what to delete: KIND/NAME…, KIND -l LABELS, or -f FILE")
    if selector or every:
        kinds = objects or []
        if len(kinds) != 1 or "/" in kinds[0]:
            raise UsageError("error: name cannot be provided when a selector or --all is specified")
        objects = change.deletable(name, kinds[0], namespace, selector)
        if not objects:
            note("No resources found")
            return
    _deferred()
    if wait not in ("true", "false"):
        raise UsageError(f"--wait is true or false, not {wait[:20]!r}")
    seconds = 0 if force else 1 if now else grace if grace >= 0 else None
    _say(change.delete(name, file or objects or [], namespace, listener(), wait=wait == "true", grace=seconds))


def scale(
    name: RunningLab,
    objects: Annotated[list[str], typer.Argument(metavar="KIND/NAME…", autocompletion=complete.deployments)],
    replicas: Annotated[int, typer.Option("--replicas", min=0, max=1000, help="The new number of pods.")],
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Its namespace.")] = "default",
    wait: WaitOption = False,
) -> None:
    """Set the number of replicas of controllers.

    KIND is deployment, replicaset, replicationcontroller or statefulset. It does not wait for the pods that come or go
    (`nslab ps`, --wait).

    Example: nslab scale services-iptables deployment/web --replicas 3
    """
    need_root("scale")
    from nslab.app import change

    _deferred()
    _say(change.scale(name, objects, replicas, namespace, listener(), wait=wait))


def set_(
    name: RunningLab,
    settings: Annotated[
        list[str],
        typer.Argument(
            metavar="proxy-mode=MODE|encapsulation=KIND|dataplane=NAME|backend=NAME|scheduler=NAME…",
            autocompletion=complete.settings,
        ),
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
        say("\n".join([f"{name}: {', '.join(done.lines)}; {len(done.drift.plan)} steps", *lines]))
    _warn(done)


def _deferred() -> None:
    from nslab.linux import signals

    signals.defer()  # until the end of this process


def _say(done: Changed) -> None:
    say("\n".join(done.lines))
    _warn(done)


def _warn(done: Changed) -> None:
    for component, node in done.late:
        note(f"nslab: the {component} of {node} has not followed yet; `nslab logs` and `nslab diff` tell more")
    written_or_exit(done.failed)
    ready_or_exit((*done.not_ready, *done.stuck), unready_note(done.drift.lab.name, done.unready))


def read_file(file: Path) -> str:
    """The text of a file, or of standard input for `-`."""
    if str(file) == "-":
        return click.get_text_stream("stdin").read()
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error_text(error)}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} cannot be read: {error}") from error
