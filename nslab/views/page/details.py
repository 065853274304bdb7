"""What is in each host of the picture, and the commands that show it (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nslab.objects.base import Add
from nslab.objects.keys import Layer
from nslab.objects.names import netns
from nslab.objects.script import inside
from nslab.quote import fill, one_line
from nslab.trace.wiring import device

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.objects.base import KernelObject, State
    from nslab.views.graph.model import Box, Graph

Plain = dict[str, Any]
_WHAT = {
    Layer.ADDRESS: "addresses",
    Layer.NEIGHBOUR: "neighbours",
    Layer.ROUTE: "routes",
    Layer.SETTING: "settings",
    Layer.NODE: "processes",
    Layer.PROCESS: "processes",
    Layer.ATTACHMENT: "plugins",
}
_COMMANDS = {
    "addresses": "ip -n {} addr",
    "neighbours": "ip -n {} neigh",
    "routes": "ip -n {} route",
    "iptables": "ip netns exec {} iptables-save",
    "ipset": "ip netns exec {} ipset list",
    "ipvs": "ip netns exec {} ipvsadm -Ln",
    "nft": "ip netns exec {} nft list ruleset",
    "settings": "ip netns exec {} sysctl -a",
    "processes": "ip netns pids {}",
}
"""By section, in the order of the page."""
_NAMED_ONLY = ("processes", "plugins")
"""Sections whose commands have the environment of containers and configurations in them."""


def details(graph: Graph, state: State) -> dict[str, Plain]:
    """By host, and SERVICE/NAME for each Service."""
    own: dict[str, list[KernelObject]] = {}
    for obj in state:
        own.setdefault(obj.host, []).append(obj)
    hosts = {box.host: _host(graph, box, own.get(box.host, [])) for box in graph.boxes}
    return hosts | {f"service/{name}": _service(graph, name) for name in {one.name for one in graph.services}}


def _host(graph: Graph, box: Box, own: list[KernelObject]) -> Plain:
    ns = netns(graph.lab, box.host)
    found: dict[str, list[Plain]] = {name: [] for name in (*_COMMANDS, "plugins")}
    for obj in own:
        what = _section(obj)
        found.get(what, []).extend(_lines(obj, what))
    sections = [
        {"what": what, "command": fill(_COMMANDS[what], ns) if what in _COMMANDS else "", "lines": lines}
        for what, lines in found.items()
        if lines
    ]
    commands = [] if box.role == "switch" else [fill("nslab shell {}", f"{graph.lab}/{box.host}")]
    return {
        "name": box.name, "role": box.role, "interfaces": [*_interfaces(graph, box, ns)], "sections": sections,
        "commands": commands, "marks": graph.marks(box.host),
    }  # fmt: skip


def _section(obj: KernelObject) -> str:
    """Where an object is listed; "" for what the list of interfaces says already."""
    layer = Layer(obj.rank // 10 * 10)
    if layer in (Layer.SET, Layer.RULE, Layer.BALANCER, Layer.TABLE):
        return obj.unit
    return _WHAT.get(layer, "")


def _lines(obj: KernelObject, what: str) -> Iterator[Plain]:
    """An object's commands as they are typed within the host, with who does it, and the interface it is about."""
    for line in [obj.label] if what in _NAMED_ONLY else inside(Add(obj)):
        yield {"text": one_line(line), "by": obj.by, "dev": device(obj)}


def _interfaces(graph: Graph, box: Box, ns: str) -> Iterator[Plain]:
    far = graph.far()
    for one in box.interfaces:
        other = far.get((box.host, one.name))
        yield {
            "name": one.name, "kind": one.kind, "mtu": one.mtu, "addresses": one.addresses, "bridge": one.bridge,
            "far": other, "marks": graph.marks(box.host, one.name),
            "commands": [
                fill("ip -n {} -d addr show dev {}", ns, one.name),
                fill("nslab capture {} {}", graph.lab, f"{box.host}:{one.name}"),
            ],
        }  # fmt: skip


def _service(graph: Graph, name: str) -> Plain:
    namespace, _, plain = name.rpartition("/")
    lines = [
        {"text": one_line(f"{one.reached} → {one.behind}"), "by": "", "dev": ""}
        for one in graph.services
        if one.name == name
    ]
    command = fill("nslab describe {} {}", graph.lab, f"service/{plain}") + (
        fill(" -n {}", namespace) * bool(namespace)
    )
    section = {"what": "service", "command": command, "lines": lines}
    return {"name": name, "role": "service", "interfaces": [], "sections": [section], "commands": [], "marks": []}
