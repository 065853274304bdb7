"""A plugin's answer: a result in the format of any version, or an error (specification, section 5)."""

from __future__ import annotations

import json
import re
from ipaddress import IPv4Address, IPv4Interface
from typing import TYPE_CHECKING, Any, Literal

from nslab.cni.config import loaded
from nslab.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator

LINES = 12
"""The maximum number of lines of a plugin's stderr in a message."""
LONGEST = 1000
"""The maximum length of each part of an error in a message."""
# Control characters, surrogates, and bidirectional controls, which reorder text on a terminal.
_CONTROL = "[^\t\n\x20-\x7e\xa0-\ud7ff\ue000-\U0010ffff]|[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"
"""A pattern that takes a millisecond to compile, and that only a plugin's errors need."""


class PluginError(Exception):
    """A plugin failed: one sentence, with its own message if there is one."""


@dataclass(frozen=True, slots=True)
class PluginOutput:
    """The end of a plugin's run: its exit status (as in subprocess) and its output.

    `failed`: it did not run, or not to its end (`did not end within 20 s and was killed`).
    """

    status: int
    stdout: str = ""
    stderr: str = ""
    failed: str = ""


@dataclass(frozen=True, slots=True)
class AddResult:
    """The parts of a result that a lab uses: the interfaces (name, namespace or ""), the pod's address, its gateway."""

    interfaces: tuple[tuple[str, str], ...]
    address: IPv4Interface | None
    gateway: IPv4Address | None = None


def result_of(plugin: str, command: str, answer: PluginOutput) -> dict[str, Any]:
    """The result of ADD as the plugin printed it. PluginError if it refused, crashed, hung or printed something else.

    A successful CHECK or DEL prints nothing: its result is empty.
    """
    complaint = _written(answer.stderr)
    if answer.failed:
        raise PluginError(f"{plugin} {answer.failed}{complaint}")
    printed = _object(answer.stdout)
    if answer.status:
        raise PluginError(f"{_refusal(plugin, command, answer.status, printed)}{complaint}")
    if command != "ADD":
        return {}
    if printed is None:
        what = f"printed no JSON: {_shown(answer.stdout)}" if answer.stdout.strip() else "printed no result"
        raise PluginError(f"{plugin} succeeded, but {what}{complaint}")
    try:
        made_of(printed)
    except ValueError as error:
        raise PluginError(f"{plugin} printed an invalid result: {error}{complaint}") from None
    return printed


def made_of(result: dict[str, Any]) -> AddResult:
    """The parts of a result of any version: `ip4` (until 0.2.0) or `ips`. ValueError if it is invalid."""
    interfaces = tuple((_text(link, "name"), _text(link, "sandbox")) for link in _objects(result, "interfaces"))
    for entry in _addresses(result):
        return AddResult(interfaces, _interface(entry["address"]), _gateway(entry.get("gateway")))
    return AddResult(interfaces, None)


def _interface(value: object) -> IPv4Interface:
    try:
        if isinstance(value, str):
            return IPv4Interface(value)
    except ValueError:
        pass
    raise ValueError(f"{_value(value)} is not an IPv4 address with its prefix length")


def _gateway(value: object) -> IPv4Address | None:
    if not value:
        return None
    try:
        if isinstance(value, str):
            return IPv4Address(value)
    except ValueError:
        pass
    raise ValueError(f"{_value(value)} is not an IPv4 address of a gateway")


def _text(link: dict[str, Any], field: str) -> str:
    value = link.get(field)
    if not isinstance(value or "", str):
        raise ValueError(f"the {field} of an interface is {_value(value)}")
    return value or ""


def _addresses(result: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The IPv4 addresses of the pod's end."""
    old = result.get("ip4")
    if isinstance(old, dict) and "ip" in old:
        yield {"address": old["ip"], "gateway": old.get("gateway")}
    links = _objects(result, "interfaces")
    for entry in _objects(result, "ips"):
        if "address" not in entry:
            raise ValueError("an entry of ips has no address")
        link = entry.get("interface")
        # An address of the node's end (such as a bridge's) is not the pod's.
        outside = type(link) is int and 0 <= link < len(links) and not links[link].get("sandbox")
        if ":" not in str(entry["address"]) and not outside:
            yield entry


def _objects(result: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = result.get(name) or []
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise ValueError(f"{name} is not a list of objects")
    return found


def _object(text: str) -> dict[str, Any] | None:
    try:
        found = loaded(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _refusal(
    plugin: str, command: Literal["ADD", "CHECK", "DEL"] | str, status: int, error: dict[str, Any] | None
) -> str:
    """The plugin's own error message; without one, how the plugin ended."""
    if error and ("code" in error or "msg" in error):
        complaint = (f"error {_word(error.get('code', '?'))}", error.get("msg") or "(no msg)", error.get("details"))
        return f"{plugin}: {': '.join(_word(part, LONGEST) for part in complaint if part)}"
    how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
    return f"{plugin} {how} at {command} and printed no error"


def _word(value: object, longest: int = 60) -> str:
    """A part of a plugin's output, safe to print."""
    text = _clean(value if isinstance(value, str) else json.dumps(value))
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _value(value: object) -> str:
    return _word(json.dumps(value, ensure_ascii=False))


def _written(stderr: str) -> str:
    lines = [line for line in _clean(stderr).splitlines() if line.strip()]
    return "".join(f"\n    {line[:400]}" for line in lines[-LINES:])


def _shown(text: str) -> str:
    return _clean(text.strip())[:200]


def _clean(text: str) -> str:
    """The text without control characters: terminals interpret them, and plugins may print anything."""
    return re.sub(_CONTROL, "?", text)
