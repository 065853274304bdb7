"""What a plugin answers: a result, in the words of any version, or an error (specification, section 5)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

LINES = 12
"""Of what a plugin wrote to stderr, so many lines are shown."""
_CONTROL = re.compile(r"[^\t\n\x20-\x7e\xa0-\U0010ffff]")


class PluginError(Exception):
    """A plugin did not do what it was told: one sentence, in its own words where it had any."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How a plugin's run ended: its exit status (as subprocess has it) and what it wrote.

    `failed`: it did not run, or not to its end (`did not end within 20 s and was killed`).
    """

    status: int
    stdout: str = ""
    stderr: str = ""
    failed: str = ""


@dataclass(frozen=True, slots=True)
class Made:
    """What of a result a lab goes by: the interfaces (name, namespace or ""), the pod's address, its gateway."""

    interfaces: tuple[tuple[str, str], ...]
    address: IPv4Interface | None
    gateway: IPv4Address | None = None


def result_of(plugin: str, command: str, answer: Answer) -> dict[str, Any]:
    """The result of ADD as the plugin printed it; PluginError if it refused, crashed, hung or printed something else.

    CHECK and DEL print nothing when they succeed: then the result is empty.
    """
    said = _written(answer.stderr)
    if answer.failed:
        raise PluginError(f"{plugin} {answer.failed}{said}")
    printed = _object(answer.stdout)
    if answer.status:
        raise PluginError(f"{_refusal(plugin, command, answer.status, printed)}{said}")
    if command != "ADD":
        return {}
    if printed is None:
        what = f"printed no JSON: {_shown(answer.stdout)}" if answer.stdout.strip() else "printed no result"
        raise PluginError(f"{plugin} ended well, but {what}{said}")
    try:
        made_of(printed)
    except ValueError as error:
        raise PluginError(f"{plugin} printed a result that is none by the specification: {error}{said}") from None
    return printed


def made_of(result: dict[str, Any]) -> Made:
    """What a result says, in the form of any version: `ip4` (until 0.2.0) or `ips`. ValueError if it cannot be."""
    interfaces = tuple(
        (str(link.get("name", "")), str(link.get("sandbox", ""))) for link in _objects(result, "interfaces")
    )
    for entry in _addresses(result):
        address = IPv4Interface(str(entry["address"]))
        gateway = entry.get("gateway")
        return Made(interfaces, address, IPv4Address(gateway) if gateway else None)
    return Made(interfaces, None)


def _addresses(result: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The IPv4 addresses of the pod's own end."""
    old = result.get("ip4")
    if isinstance(old, dict) and "ip" in old:
        yield {"address": old["ip"], "gateway": old.get("gateway")}
    links = _objects(result, "interfaces")
    for entry in _objects(result, "ips"):
        if "address" not in entry:
            raise ValueError("an entry of ips has no address")
        link = entry.get("interface")
        # An address of the node's own end (a bridge's) is not the pod's.
        outside = isinstance(link, int) and 0 <= link < len(links) and not links[link].get("sandbox")
        if ":" not in str(entry["address"]) and not outside:
            yield entry


def _objects(result: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = result.get(name) or []
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise ValueError(f"{name} is not a list of objects")
    return found


def _object(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _refusal(
    plugin: str, command: Literal["ADD", "CHECK", "DEL"] | str, status: int, error: dict[str, Any] | None
) -> str:
    """An error in the plugin's own words; if it had none, how it ended."""
    if error and ("code" in error or "msg" in error):
        details = str(error.get("details") or "")
        parts = [
            f"error {error.get('code', '?')}",
            str(error.get("msg") or "(no msg)"),
            *([details] if details else []),
        ]
        return f"{plugin}: {_clean(': '.join(parts))}"
    how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
    return f"{plugin} {how} at {command} and printed no error"


def _written(stderr: str) -> str:
    lines = [line for line in _clean(stderr).splitlines() if line.strip()]
    return "".join(f"\n    {line[:400]}" for line in lines[-LINES:])


def _shown(text: str) -> str:
    return _clean(text.strip())[:200]


def _clean(text: str) -> str:
    """Terminals obey control characters, and plugins may print anything."""
    return _CONTROL.sub("?", text)
