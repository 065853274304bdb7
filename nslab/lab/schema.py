"""The JSON Schema of the Lab document, made from the table that the loader reads by; editors check with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_never

from nslab.lab import quantity
from nslab.lab.fields import LAB
from nslab.lab.shapes import (
    Address,
    Anything,
    Choice,
    Flag,
    Many,
    Network,
    Number,
    NumberOrName,
    OneOrMany,
    Part,
    Quantity,
    Record,
    Table,
    Text,
    Word,
)

if TYPE_CHECKING:
    from nslab.lab.shapes import Shape

BYTE = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
ADDRESS = rf"{BYTE}(\.{BYTE}){{3}}"


def schema() -> dict[str, Any]:
    """The schema as `nslab schema` prints it."""
    return schema_of(LAB, "nslab Lab", "The first document of a lab file; ordinary Kubernetes objects follow it.")


def schema_of(document: Record, title: str, about: str) -> dict[str, Any]:
    """The schema of one kind of document."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "description": about,
        **_of(document),
    }


def _of(shape: Shape) -> dict[str, Any]:
    """The schema of one shape."""
    match shape:
        case Text(pattern, what, longest):
            limits = {"maxLength": longest} if longest else {}
            return {"type": "string", **_pattern(pattern), **limits, **({"$comment": what} if what else {})}
        case Word(word):
            return {"const": word}
        case Choice(of):
            return {"enum": [str(word) for word in of]}
        case Number(low, high):
            return {"type": "integer", "minimum": low, "maximum": high}
        case NumberOrName(number, name):
            return {"anyOf": [_of(number), _of(name)]}
        case Quantity():
            return {"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", **_pattern(quantity.PATTERN)}]}
        case Anything():
            return {}
        case Flag():
            return {"type": "boolean"}
        case Address():
            return {"type": "string", "format": "ipv4", **_pattern(ADDRESS)}
        case Network():
            return {"type": "string", **_pattern(f"{ADDRESS}/([0-9]|[12][0-9]|3[0-2])")}
        case Many(of, at_least):
            return {"type": "array", "items": _of(of), **({"minItems": at_least} if at_least else {})}
        case OneOrMany(of):
            return {"anyOf": [_of(of), _of(Many(of, at_least=1))]}
        case Table(of, key):
            return {"type": "object", "propertyNames": _of(key), "additionalProperties": _of(of)}
        case Part(fields) | Record(_, fields):
            required = [field.name for field in fields if field.required]
            return {
                "type": "object",
                "properties": {field.name: {"description": field.about, **_of(field.shape)} for field in fields},
                **({"required": required} if required else {}),
                "additionalProperties": False,
            }
        case missing:
            assert_never(missing)


def _pattern(pattern: str) -> dict[str, str]:
    """A pattern for the whole string: JSON Schema's patterns are searched for."""
    return {"pattern": f"^({pattern})$"} if pattern else {}
