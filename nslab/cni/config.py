"""A network configuration: placeholders filled in for a node, parsed, and validated (specification, section 1)."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Never

from nslab.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
"""The supported versions of the specification."""
DEEPEST = 100
"""The maximum depth of nesting in JSON."""
LARGEST_MTU = 65535
_NAME = re.compile("[A-Za-z0-9][A-Za-z0-9_.-]{0,254}")
_TYPE = re.compile("[^/\0]{1,255}")
_SURROGATE = re.compile("[\ud800-\udfff]")
LONGEST_NUMBER = 20
# Values as in jinja2, but no other syntax of it: a configuration is untrusted, and must not run loops.
_HOLE = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")


class WrongConfigError(ValueError):
    """The errors in a configuration, a sentence each."""

    def __init__(self, *faults: str) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """A configuration list. `plugins`: each plugin's JSON object. `checks`: CHECK is supported and enabled."""

    name: str
    version: str
    plugins: tuple[str, ...]
    checks: bool = True

    @property
    def types(self) -> tuple[str, ...]:
        """The programs of the list, in its order."""
        return tuple(str(json.loads(plugin)["type"]) for plugin in self.plugins)

    @property
    def programs(self) -> tuple[str, ...]:
        """All programs: those of the list, then their IPAM plugins."""
        ipam = (json.loads(plugin).get("ipam") for plugin in self.plugins)
        named = (str(part["type"]) for part in ipam if isinstance(part, dict) and part.get("type"))
        return tuple(dict.fromkeys((*self.types, *named)))

    def capable(self, capability: str) -> bool:
        """Whether a plugin of the list has a capability (portMappings, ips, …)."""
        return any(json.loads(plugin).get("capabilities", {}).get(capability) is True for plugin in self.plugins)

    @property
    def mtu(self) -> int:
        """The smallest MTU in the plugins' configurations; 0 if there is none."""
        mtus = (json.loads(plugin).get("mtu") for plugin in self.plugins)
        return min((mtu for mtu in mtus if type(mtu) is int and 0 < mtu <= LARGEST_MTU), default=0)


def at_least(version: str, other: str) -> bool:
    """Whether a version of the specification is `other` or later."""
    return VERSIONS.index(version) >= VERSIONS.index(other)


def filled(text: str, values: Mapping[str, str]) -> str:
    """The text with its placeholders, such as `{{ node.podCIDR }}`, filled in. WrongConfigError for unknown ones."""
    unknown = dict.fromkeys(name for name in _HOLE.findall(text) if name not in values)
    if unknown:
        raise WrongConfigError(
            *(f"unknown placeholder {{{{ {name[:60]} }}}}; there are {', '.join(values)}" for name in unknown)
        )
    return _HOLE.sub(lambda hole: values[hole[1]], text)


def read(text: str) -> NetworkConfig:
    """The list of a .conflist, or the single plugin of a .conf as a list. WrongConfigError with all errors."""
    whole = _json(text)
    listed = whole.get("plugins")
    alone = "plugins" not in whole and "type" in whole
    plugins = [whole] if alone else listed if isinstance(listed, list) else []
    version = whole.get("cniVersion", "0.1.0")  # libcni's default
    faults = [*_top(whole, version, alone=alone), *_each(plugins)]
    if not plugins:
        faults.append("it has no plugins (a list), and no type (of a single plugin) either")
    if faults:
        raise WrongConfigError(*faults)
    disabled = whole.get("disableCheck") in (True, "true")
    return NetworkConfig(
        name=whole["name"],
        version=version,
        plugins=tuple(json.dumps(plugin, ensure_ascii=False) for plugin in plugins),
        checks=at_least(version, "0.4.0") and not disabled,
    )


def _json(text: str) -> dict[str, Any]:
    try:
        whole = loaded(text)
    except json.JSONDecodeError as error:
        raise WrongConfigError(f"line {error.lineno}, column {error.colno}: {error.msg}") from None
    except ValueError as error:
        raise WrongConfigError(str(error)) from None
    if not isinstance(whole, dict):
        raise WrongConfigError("it must be one JSON object")
    return whole


def loaded(text: str) -> Any:
    """The value of a JSON text that can be written as JSON again; ValueError otherwise."""
    try:
        found = json.loads(text, parse_int=_integer, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if _is_deep(found):
        raise ValueError("it is nested too deeply")
    if _SURROGATE.search(json.dumps(found, ensure_ascii=False)):
        raise ValueError("it has half a character (a surrogate), which is no text")
    return found


def _integer(digits: str) -> int:
    if len(digits) > LONGEST_NUMBER:
        raise ValueError(f"a number in it has {len(digits.lstrip('-'))} digits")
    return int(digits)


def _no_number(word: str) -> Never:
    raise ValueError(f"{word} is no number in JSON")


def _is_deep(value: object) -> bool:
    level = [value]
    for _ in range(DEEPEST):
        below = [entry for one in level if isinstance(one, dict) for entry in one.values()]
        level = below + [entry for one in level if isinstance(one, list) for entry in one]
    return bool(level)


def _top(whole: dict[str, Any], version: object, *, alone: bool) -> Iterator[str]:
    name = whole.get("name")
    if not name:
        yield "name is missing"
    elif not isinstance(name, str) or not _NAME.fullmatch(name):
        yield "name must begin with a letter or digit, and have letters, digits, '_', '.' and '-' alone"
    if version not in VERSIONS:
        yield f"cniVersion {json.dumps(version)[:40]} is unknown; there are {', '.join(VERSIONS)}"
    if not alone and "plugins" in whole and not isinstance(whole["plugins"], list):
        yield "plugins must be a list"


def _each(plugins: list[Any]) -> Iterator[str]:
    for place, plugin in enumerate(plugins):
        if not isinstance(plugin, dict):
            yield f"plugins[{place}] must be an object"
            continue
        ipam = plugin.get("ipam")
        if not _is_type(plugin.get("type")):
            yield f"plugins[{place}].type must name a program, without its directory"
        if isinstance(ipam, dict) and ipam.get("type") and not _is_type(ipam["type"]):
            yield f"plugins[{place}].ipam.type must name a program, without its directory"
        if not isinstance(plugin.get("capabilities", {}), dict):
            yield f"plugins[{place}].capabilities must be an object"


def _is_type(word: object) -> bool:
    return isinstance(word, str) and bool(_TYPE.fullmatch(word)) and word.isprintable() and word not in (".", "..")
