"""The orders to the plugins of a list, in turn: each is told what the one before it made (specification, section 3).

The generators yield an `Invocation`, are sent the `Answer`, and return (or raise) in the end: whoever drives them runs
programs, or has answers ready.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from nslab.cni.config import Network, at_least
from nslab.cni.result import Answer, PluginError, made_of, result_of
from nslab.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Generator
    from ipaddress import IPv4Address

Command: TypeAlias = Literal["ADD", "CHECK", "DEL"]


class Program(NamedTuple):
    """A plugin on the disk. `build` is another as soon as the file is."""

    path: str
    build: str = ""


@dataclass(frozen=True, slots=True)
class Wiring:
    """All that a runtime tells the plugins of a list about one interface of one pod.

    `programs`: those of `network.programs`, found. `runtime`: what plugins with a capability are told, as JSON.
    `asks`: they are asked for a certain address.
    """

    network: Network
    programs: tuple[Program, ...]
    container: str
    netns: str
    ifname: str
    args: str
    path: tuple[str, ...]
    runtime: str = "{}"
    asks: bool = False


class Invocation(NamedTuple):
    """One run of one plugin: the program, its environment, and its standard input."""

    command: Command
    plugin: str
    program: str
    env: dict[str, str]
    stdin: str


Invocations: TypeAlias = "Generator[Invocation, Answer, dict[str, Any]]"


def invocation(
    wiring: Wiring, index: int, command: Command, address: IPv4Address | None, before: dict[str, Any] | None
) -> Invocation:
    """What the plugin at a place of the list is told. `before`: the result that it goes on from (prevResult)."""
    plugin = wiring.network.types[index]
    return Invocation(
        command,
        plugin,
        wiring.programs[index].path,
        environment(wiring, command, address),
        _stdin(wiring, index, address, before),
    )


def environment(wiring: Wiring, command: Command, address: IPv4Address | None) -> dict[str, str]:
    """The parameters (section 2). An address is asked for as host-local and others read it: `IP=` in CNI_ARGS."""
    asked = f";IP={address}" if wiring.asks and address else ""
    return {
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": wiring.container,
        "CNI_NETNS": wiring.netns,
        "CNI_IFNAME": wiring.ifname,
        "CNI_ARGS": f"{wiring.args}{asked}",
        "CNI_PATH": ":".join(wiring.path),
    }


def configuration(wiring: Wiring, index: int, address: IPv4Address | None) -> dict[str, Any]:
    """The plugin's own configuration as it is executed, but for prevResult (section 3, deriving)."""
    plugin: dict[str, Any] = json.loads(wiring.network.plugins[index])
    can = plugin.pop("capabilities", {})
    given = json.loads(wiring.runtime)
    if wiring.asks and address:
        given["ips"] = [str(address)]
    runtime = {name: given[name] for name, wanted in can.items() if wanted is True and name in given}
    head = {"cniVersion": wiring.network.version, "name": wiring.network.name}
    made = head | {key: value for key, value in plugin.items() if key not in ("runtimeConfig", "prevResult", *head)}
    return made | ({"runtimeConfig": runtime} if runtime else {})


def _stdin(wiring: Wiring, index: int, address: IPv4Address | None, before: dict[str, Any] | None) -> str:
    made = configuration(wiring, index, address)
    if before is not None and at_least(wiring.network.version, "0.3.0"):
        made["prevResult"] = before
    return json.dumps(made)


def adding(wiring: Wiring, address: IPv4Address | None) -> Invocations:
    """ADD through the list; its result. Where one fails, DEL through the whole list, and PluginError."""
    before: dict[str, Any] | None = None
    try:
        for index, plugin in enumerate(wiring.network.types):
            answer = yield invocation(wiring, index, "ADD", address, before)
            before = result_of(plugin, "ADD", answer)
        if before is None or made_of(before).address is None:
            raise PluginError(f"{wiring.network.types[-1]} ended well, but gave no IPv4 address, and a pod needs one")
    except PluginError as refusal:
        try:
            yield from deleting(wiring, address, None)
        except PluginError as more:
            raise PluginError(f"{refusal}\n  and at DEL, to clean up: {more}") from None
        raise
    return before


def checking(wiring: Wiring, address: IPv4Address | None, result: dict[str, Any]) -> Invocations:
    """CHECK through the list, where it can be asked; PluginError at the first that is not content."""
    if wiring.network.checks:
        for index, plugin in enumerate(wiring.network.types):
            answer = yield invocation(wiring, index, "CHECK", address, result)
            result_of(plugin, "CHECK", answer)
    return result


def deleting(wiring: Wiring, address: IPv4Address | None, result: dict[str, Any] | None) -> Invocations:
    """DEL through the list, last first; one that fails keeps none of the others from it. PluginError in the end."""
    known = result if result is not None and at_least(wiring.network.version, "0.4.0") else None
    refusals = []
    for index in reversed(range(len(wiring.network.types))):
        answer = yield invocation(wiring, index, "DEL", address, known)
        try:
            result_of(wiring.network.types[index], "DEL", answer)
        except PluginError as refusal:
            refusals.append(str(refusal))
    if refusals:
        raise PluginError("; ".join(refusals))
    return {}
