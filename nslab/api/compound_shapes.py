"""Shapes of lists and mappings, which walk on into their parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nslab.api.scalars import UNREADABLE
from nslab.api.shapes import GONE, Shape, TextShape
from nslab.api.words import dotted
from nslab.dataclass import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nslab.api.shapes import Walk


class TextOrRecord(Shape):
    """A text or a flag, or a mapping with known fields: a sentence, or its translations."""

    def __init__(self, text: Shape, record: Shape) -> None:
        self.text, self.record = text, record

    def check(self, value: Any, walk: Walk) -> Any:
        shape = self.record if isinstance(value, dict) else self.text
        return value if value.__class__ is shape.plain else shape.check(value, walk)


class Many(Shape):
    """A list of one shape."""

    stand_in = list

    def __init__(self, of: Shape, at_least: int = 0) -> None:
        self.of, self.at_least = of, at_least

    def check(self, value: Any, walk: Walk) -> Any:
        if not isinstance(value, list):
            walk.must(value, "a list")
            # An unreadable command exists all the same: a later check must not report it as missing.
            return [UNREADABLE] if isinstance(self.of, TextShape) else GONE
        if len(value) < self.at_least:
            walk.say(f"{walk.here} is empty; it needs at least {self.at_least}")
        of, plain = self.of, self.of.plain
        for index, item in enumerate(value):
            if item.__class__ is plain:
                continue
            walk.path.append(index)
            kept = of.check(item, walk)
            walk.path.pop()
            if kept is not item:
                # Unreadable items keep their index: later errors are looked up by index.
                value[index] = kept if kept is not GONE else of.stand_in if of.stand_in == UNREADABLE else of.stand_in()
        return value


class OneOrMany(Shape):
    """A list of one shape, or a single item without the list."""

    def __init__(self, of: Shape) -> None:
        self.of, self.many = of, Many(of, at_least=1)

    def check(self, value: Any, walk: Walk) -> Any:
        if isinstance(value, list):
            return self.many.check(value, walk) or [UNREADABLE]
        kept = self.of.check(value, walk)
        return [UNREADABLE] if kept is GONE else kept


class Table(Shape):
    """A mapping from arbitrary names to one shape."""

    stand_in = dict

    def __init__(self, of: Shape, key: Shape) -> None:
        self.of, self.key = of, key

    def check(self, value: Any, walk: Walk) -> Any:
        if not isinstance(value, dict):
            walk.must(value, "a mapping")
            return GONE
        plain, changed = self.of.plain, {}
        for name, item in value.items():
            walk.path.append(name)
            if self.key.plain is None:
                self._name(name, walk)
            if item is None:
                changed[name] = "" if isinstance(self.of, TextShape) else GONE
            elif item.__class__ is not plain and (kept := self.of.check(item, walk)) is not item:
                changed[name] = kept
            walk.path.pop()
        return changed_to(value, changed)

    def _name(self, name: str, walk: Walk) -> None:
        before = len(walk.found)
        self.key.check(name, walk)
        if len(walk.found) > before:
            (found,) = walk.found[before:]
            walk.found[before:] = [replace(found, key=True)]


class RecordShape(Shape):
    """A mapping with known fields, each compiled on first use.

    In Kubernetes' own a null, and the zero value of an optional field that must not be zero, mean that it is not set.
    """

    stand_in = dict

    def __init__(self, schema: Mapping[str, Any], compiled: Callable[[Mapping[str, Any]], Shape]) -> None:
        self.schema, self.compiled = schema, compiled
        self.known: dict[str, Shape] = {}
        self.required: tuple[str, ...] = tuple(schema.get("required", ()))
        self.names = tuple(schema["properties"])
        self.open = schema.get("additionalProperties") is True
        self.kubernetes = "additionalProperties" not in schema

    def check(self, value: Any, walk: Walk) -> Any:
        if not isinstance(value, dict):
            walk.must(value, "a mapping")
            return GONE
        known, path, changed = self.known, walk.path, {}
        for name, item in value.items():
            shape = known.get(name) or self._field(name)
            if shape is None and self.open:
                continue
            if shape is None:
                path.append(name)
                walk.say(f"unknown field {walk.here}", name, self.names, key=True)
                path.pop()
            elif item.__class__ is not shape.plain:
                path.append(name)
                kept = self._kept(item, shape, walk, may_be_unset=self.kubernetes and name not in self.required)
                path.pop()
                if kept is not item:
                    changed[name] = kept
        for name in self.required:
            if name not in value:
                walk.say(f"{dotted((*walk.path, name))} is missing")
        return changed_to(value, changed)

    def _kept(self, item: Any, shape: Shape, walk: Walk, *, may_be_unset: bool) -> Any:
        """The valid part of a field, or GONE; notes the errors."""
        if item is None:
            if not may_be_unset:
                shape.null(walk, required=walk.path[-1] in self.required)
            return GONE
        before = len(walk.found)
        kept = shape.check(item, walk)
        if may_be_unset and len(walk.found) > before and shape.is_zero(item):
            del walk.found[before:]
            return GONE
        return kept

    def _field(self, name: str) -> Shape | None:
        field = self.schema["properties"].get(name)
        if field is not None:
            self.known[name] = self.compiled(field)
        return self.known.get(name)


def changed_to(value: dict[str, Any], changed: Mapping[str, Any]) -> dict[str, Any]:
    """The mapping, updated in place with `changed`; GONE deletes a field."""
    for name, kept in changed.items():
        if kept is GONE:
            del value[name]
        else:
            value[name] = kept
    return value
