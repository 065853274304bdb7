"""`nslab cni`: CNI plugins wire a lab's pods."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nslab.cli.arguments import LabSource, Output, file_of
from nslab.cli.life import listener
from nslab.cli.outcome import ready_or_exit
from nslab.cli.output import Format, document, listing, need_root, note, say
from nslab.errors import UsageError

if TYPE_CHECKING:
    from nslab.lab.types import Cni
    from nslab.linux.cni.plugins import StoredAttachment


def cni(
    source: LabSource,
    conf: Annotated[Path, typer.Option("--conf", help="The CNI configuration: a .conf or .conflist file.")],
    plugin: Annotated[
        Path | None, typer.Option("--plugin", help="A plugin, or a directory of plugins to search first.")
    ] = None,
    routes: Annotated[
        bool,
        typer.Option(
            "--routes/--no-routes", help="Add routes to the other nodes' podCIDRs, or leave them to the plugin."
        ),
    ] = True,
    masquerade: Annotated[
        bool,
        typer.Option(
            "--masquerade/--no-masquerade", help="Masquerade what leaves the pod network, or leave it to the plugin."
        ),
    ] = True,
    output: Output = Format.TABLE,
) -> None:
    """Wire the pods of a lab with CNI plugins. It brings the lab up, or rewires a running one, and shows their answers.

    The plugins run as root inside the nodes, as a container runtime runs them. The configuration may have placeholders:
    {{ node.name }}, {{ node.address }}, {{ node.podCIDR }}, {{ node.gateway }}, {{ lab.pods }}, {{ lab.services }}.
    After you rebuild a plugin, repeat the command: nslab rewires the pods.

    Example: nslab cni kubenet-two-node --plugin ./bin/mine --conf mine.conflist
    """
    need_root("cni")
    from nslab.admission.load import load
    from nslab.app.change import Changed, rewire
    from nslab.app.up import Up, up
    from nslab.linux import signals
    from nslab.linux.cni.plugins import Plugins
    from nslab.linux.netns import folder, labs
    from nslab.views.tree import title

    setting = _setting(conf, plugin, routes=routes, masquerade=masquerade)
    signals.defer()
    done: Changed | Up
    if source in labs():
        done = rewire(source, setting, listener())
    else:
        done = up(load(file_of(source), cni=setting), listener())
    lab = done.drift.lab
    made = Plugins(folder(lab.name)).kept()
    rows = [_row(kept) for kept in made]
    if output is not Format.TABLE:
        document(rows, output)
    else:
        what = f"{len(done.drift.plan)} steps"
        if isinstance(done, Up) and done.fresh:
            what = f"up in {done.seconds:.2f} s"
        say(f"{title(lab)}; {what}")
        listing([{key: value for key, value in row.items() if key != "result"} for row in rows], output)
    for doubt in dict.fromkeys(kept.doubt for kept in made if kept.doubt):
        note(f"nslab: CHECK fails right after a successful ADD, so nslab ignores this error: {doubt}")
    ready_or_exit(done.not_ready)


def _setting(conf: Path, plugin: Path | None, *, routes: bool, masquerade: bool) -> Cni:
    """The lab's `cni` field for these plugins; UsageError lists all errors of the configuration."""
    from nslab.lab.plugins import config_text, example
    from nslab.lab.types import Cni

    try:
        text = config_text(str(conf))
    except ValueError as error:
        raise UsageError(f"{conf} {error}") from None
    if plugin is not None and not plugin.exists():
        raise UsageError(f"there is no {plugin}: --plugin takes a CNI plugin, or a directory of them")
    try:
        network = example(text)
    except ValueError as wrong:
        raise UsageError(f"{conf}: {wrong}") from None
    if plugin is not None and plugin.is_file() and plugin.name not in network.programs:
        raise UsageError(f"{conf} names {', '.join(network.programs)}, and --plugin is {plugin.name}")
    directory = plugin and (plugin.parent if plugin.is_file() else plugin).absolute()
    return Cni(text, (str(directory),) if directory else (), routes=routes, masquerade=masquerade)


def _row(kept: StoredAttachment) -> dict[str, Any]:
    from nslab.objects.names import host

    made, obj = kept.made, kept.obj
    return {
        "pod": obj.host,
        "node": host(obj.node),
        "interface": obj.wiring.ifname,
        "address": str(made.address or ""),
        "gateway": str(made.gateway or ""),
        "plugins": list(obj.wiring.network.types),
        "result": kept.result,
    }
