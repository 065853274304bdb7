"""Kubernetes' own schema: its kinds, and the fields, types and required fields of each.

`kubernetes.schema` is data, written by scripts/kubernetes-schema: a line with its release and the definition of each
kind, then a line for each definition. A definition is parsed when an object first needs it. `rules` adds checks of
fields that nslab acts on.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nslab.api import compound_shapes, rules, shapes
from nslab.api.addresses import address_fault, network_fault
from nslab.api.rules import RULES
from nslab.api.shapes import Shape
from nslab.api.words import quoted
from nslab.errors import FieldError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nslab.errors import FieldPath

FILE = Path(__file__).with_name("kubernetes.schema")
REF = "#/$defs/"
GONE_GROUPS = {"extensions", "authentication.k8s.io", "authorization.k8s.io"}
"""Kubernetes' own groups without a kind in this schema."""


@cache
def _data() -> str:
    return FILE.read_bytes().decode("ascii")


def _line(start: str) -> str:
    """The rest of the line that begins with `start`."""
    data = _data()
    at = data.index(f"\n{start} ") + len(start) + 2
    return data[at : data.index("\n", at)]


@cache
def kinds() -> dict[tuple[str, str], str]:
    """The definition's name for each apiVersion and kind."""
    found: dict[tuple[str, str], str] = {}
    head = _data().partition("\n")[0]
    for key, name in json.loads(head)["kinds"].items():
        version, _, kind = key.rpartition("/")
        found[version, kind] = name
    return found


@cache
def names(version: str) -> tuple[str, ...]:
    """The names of all kinds, those of an apiVersion first."""
    return tuple(dict.fromkeys([kind for known, kind in sorted(kinds(), key=lambda one: one[0] != version)]))


@cache
def own(version: str) -> bool:
    """Whether an apiVersion is Kubernetes' own, so that an unknown kind is an error."""
    group = version.rpartition("/")[0]
    return group in GONE_GROUPS or any(known.rpartition("/")[0] == group for known, _ in kinds())


def versions_of(kind: str, group: str) -> tuple[str, ...]:
    """The apiVersions of a kind, newest first, those of the group before the others."""
    found = [version for version, known in kinds() if known == kind]
    stable = [version for version in found if "beta" not in version] or found
    return tuple(sorted(sorted(stable, reverse=True), key=lambda version: version.rpartition("/")[0] != group))


@cache
def shape_of(version: str, kind: str) -> Shape:
    """The shape of a kind."""
    name = kinds()[version, kind]
    return (
        _compiled_definition(name)
        if kind in RULES
        else compiled({**merged(_definition(name), rules.kind()), "required": ["metadata"]})
    )


def shape_for(version: Any, kind: Any, path: FieldPath) -> tuple[Shape | None, list[FieldError]]:
    """The shape for an object's apiVersion and kind; None, with an error, for an unknown kind."""
    if not isinstance(kind, str) or not kind:
        return None, [FieldError((*path, "kind"), "kind is missing: Pod, Service, Deployment and so on")]
    if not isinstance(version, str) or not version:
        versions = versions_of(kind, "")
        missing = FieldError((*path, "apiVersion"), "apiVersion is missing")
        # The shape reports other types.
        return (shape_of(versions[0], kind), [] if version else [missing]) if versions else (None, [missing])
    if (version, kind) in kinds():
        return shape_of(version, kind), []
    if not own(version):
        return foreign(), []
    return no_match(version, kind, path, versions_of(kind, version.rpartition("/")[0]), names(version))


def no_match(
    version: Any, kind: Any, path: FieldPath, right: tuple[str, ...], known: tuple[str, ...]
) -> tuple[None, list[FieldError]]:
    """kubectl's error for an unknown kind; `right`: the versions in which the kind exists."""
    text = f"no matches for kind {quoted(str(kind))} in version {quoted(str(version))}"
    if right:
        return None, [FieldError((*path, "apiVersion"), f"{text}; write {right[0]}")]
    return None, [FieldError((*path, "kind"), text, word=str(kind), known=known)]


@cache
def foreign() -> Shape:
    """The shape of an object of another group."""
    return compiled(rules.FOREIGN)


def check(value: Any, shape: Shape, place: FieldPath = ()) -> list[FieldError]:
    """The errors in a value; values that do not fit the shape are removed from it."""
    walk = shapes.Walk(place)
    shape.check(value, walk)
    return walk.found


@cache
def _definition(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_line(name))
    return merged(found, RULES.get(name.rpartition(".")[2], {}))


@cache
def _compiled_definition(name: str) -> Shape:
    match name.rpartition(".")[2]:
        case "Quantity":
            return shapes.Quantity()
        case "IntOrString":
            return shapes.NumberOrText(shapes.Number({"type": "integer", "format": "int32"}), shapes.TextShape({}))
    return compiled(_definition(name))


def merged(schema: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """A schema merged with another, whose keywords take precedence."""
    made = {**schema, **more}
    if "properties" in schema and "properties" in more:
        made["properties"] = {**schema["properties"], **more["properties"]}
    if "required" in schema and "required" in more:
        made["required"] = more["required"] and [*schema["required"], *more["required"]]
    return made


def compiled(schema: Mapping[str, Any]) -> Shape:
    """The shape that a schema describes."""
    match schema:
        case {"$ref": str(ref)}:
            name, more = ref.removeprefix(REF), {word: setting for word, setting in schema.items() if word != "$ref"}
            return compiled(merged(_definition(name), more)) if more else _compiled_definition(name)
        case {"enum": list(words)}:
            return shapes.Choice(words)
        case {"format": "ipv4"}:
            return shapes.AddressShape("an IPv4 address", address_fault)
        case {"format": "ipv4-network"}:
            return shapes.AddressShape("an IPv4 network", network_fault)
        case {"format": "quantity"}:
            return shapes.Quantity(negative=False)
        case {"format": "resource"}:
            return shapes.Resource()
        case {"anyOf": [one, {"type": "array"}]}:
            return compound_shapes.OneOrMany(compiled(one))
        case {"anyOf": [text, {"properties": _} as record]}:
            return compound_shapes.TextOrRecord(compiled(text), compiled(record))
        case {"anyOf": [number, text]}:
            return shapes.NumberOrText(compiled(number), compiled(text))
        case {"properties": _}:
            return compound_shapes.RecordShape(schema, compiled)
        case {"additionalProperties": dict(of)}:
            return compound_shapes.Table(compiled(of), compiled(schema.get("propertyNames", {"type": "string"})))
        case {"type": "array", "items": of}:
            return compound_shapes.Many(compiled(of), schema.get("minItems", 0))
        case {"type": "integer" | "number"}:
            return shapes.Number(schema)
        case {"type": "boolean"}:
            return shapes.Flag()
        case {"type": "string"} | {"const": _}:
            return shapes.TextShape(schema)
        case {"type": "object"}:
            return compound_shapes.Table(Shape(), shapes.TextShape({}))
    return Shape()
