"""The invocations of a list's plugins: each gets the result of the one before it (specification, section 3).

The generators yield an `Invocation`, receive its `PluginOutput`, and return or raise in the end: the caller runs
programs, or has prepared answers.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from nslab.cni.config import NetworkConfig, at_least
from nslab.cni.result import PluginError, PluginOutput, made_of, result_of
from nslab.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Generator
    from ipaddress import IPv4Address

Command: TypeAlias = Literal["ADD", "CHECK", "DEL"]


class Program(NamedTuple):
    """A plugin on disk. `build` changes whenever the file does."""

    path: str
    build: str = ""


@dataclass(frozen=True, slots=True)
class Wiring:
    """A runtime's input to the plugins of a list for one interface of one pod.

    `programs`: the files of `network.programs`. `runtime`: the runtimeConfig for plugins with capabilities, as JSON.
    `asks`: the runtime requests a certain address.
    """

    network: NetworkConfig
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


Invocations: TypeAlias = "Generator[Invocation, PluginOutput, dict[str, Any]]"


def invocation(
    wiring: Wiring, index: int, command: Command, address: IPv4Address | None, before: dict[str, Any] | None
) -> Invocation:
    """The invocation of the plugin at an index of the list. `before`: the previous result (prevResult)."""
    plugin = wiring.network.types[index]
    return Invocation(
        command,
        plugin,
        wiring.programs[index].path,
        environment(wiring, command, address),
        _stdin(wiring, index, address, before),
    )


def environment(wiring: Wiring, command: Command, address: IPv4Address | None) -> dict[str, str]:
    """The parameters (section 2). `IP=` in CNI_ARGS requests an address from host-local and other plugins."""
    request = f";IP={address}" if wiring.asks and address else ""
    return {
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": wiring.container,
        "CNI_NETNS": wiring.netns,
        "CNI_IFNAME": wiring.ifname,
        "CNI_ARGS": f"{wiring.args}{request}",
        "CNI_PATH": ":".join(wiring.path),
    }


def configuration(wiring: Wiring, index: int, address: IPv4Address | None) -> dict[str, Any]:
    """The plugin's execution configuration without prevResult (section 3, deriving)."""
    plugin: dict[str, Any] = json.loads(wiring.network.plugins[index])
    capabilities = plugin.pop("capabilities", {})
    values = json.loads(wiring.runtime)
    if wiring.asks and address:
        values["ips"] = [str(address)]
    runtime = {name: values[name] for name, enabled in capabilities.items() if enabled is True and name in values}
    head = {"cniVersion": wiring.network.version, "name": wiring.network.name}
    made = head | {key: value for key, value in plugin.items() if key not in ("runtimeConfig", "prevResult", *head)}
    return made | ({"runtimeConfig": runtime} if runtime else {})


def _stdin(wiring: Wiring, index: int, address: IPv4Address | None, before: dict[str, Any] | None) -> str:
    made = configuration(wiring, index, address)
    if before is not None and at_least(wiring.network.version, "0.3.0"):
        made["prevResult"] = before
    return json.dumps(made)


def adding(wiring: Wiring, address: IPv4Address | None) -> Invocations:
    """ADD through the list; returns its result. If a plugin fails: DEL through the whole list, then PluginError."""
    before: dict[str, Any] | None = None
    try:
        for index, plugin in enumerate(wiring.network.types):
            answer = yield invocation(wiring, index, "ADD", address, before)
            before = result_of(plugin, "ADD", answer)
        if before is None or made_of(before).address is None:
            raise PluginError(
                f"{wiring.network.types[-1]} succeeded, but returned no IPv4 address, and a pod needs one"
            )
    except PluginError as refusal:
        try:
            yield from deleting(wiring, address, None)
        except PluginError as more:
            raise PluginError(f"{refusal}\n  and at DEL, to clean up: {more}") from None
        raise
    return before


def checking(wiring: Wiring, address: IPv4Address | None, result: dict[str, Any]) -> Invocations:
    """CHECK through the list, if the version supports it; PluginError at the first plugin that fails."""
    if wiring.network.checks:
        for index, plugin in enumerate(wiring.network.types):
            answer = yield invocation(wiring, index, "CHECK", address, result)
            result_of(plugin, "CHECK", answer)
    return result


def deleting(wiring: Wiring, address: IPv4Address | None, result: dict[str, Any] | None) -> Invocations:
    """DEL through the list, last first, even after failures; PluginError in the end if there were some."""
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
