"""Selectors of objects and nodes: what they match, what is wrong with them, and how kubectl prints them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from nslab.api.sentences import forbidden, invalid, required
from nslab.errors import FieldError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from nslab.errors import FieldPath

EQUALS = "="
"""The operator of `matchLabels`."""
WITH_VALUES, WITHOUT_VALUES = ("In", "NotIn"), ("Exists", "DoesNotExist")
COMPARING = ("Gt", "Lt")
NODE_NAME = "metadata.name"
"""The only field of a node selector's `matchFields`."""
NUMBER = re.compile("[+-]?[0-9]+")


class Requirement(NamedTuple):
    """A condition on one label: its key, an operator (`EQUALS`, In, NotIn, Exists, DoesNotExist, Gt, Lt), values."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether labels fulfil it. NotIn and DoesNotExist are also true of a label that is missing."""
        value = labels.get(self.key)
        match self.operator:
            case "=" | "In":
                return value in self.values
            case "NotIn":
                return value not in self.values
            case "Exists" | "DoesNotExist":
                return (value is not None) == (self.operator == "Exists")
            case "Gt" | "Lt":
                return value is not None and self._compares(value)
            case _:
                return False

    def _compares(self, value: str) -> bool:
        """Whether a label is greater (Gt) or less (Lt) than the only value; both are whole numbers."""
        if len(self.values) != 1 or not all(map(NUMBER.fullmatch, (value, *self.values))):
            return False
        least, most = (self.values[0], value) if self.operator == "Gt" else (value, self.values[0])
        return int(least) < int(most)

    def __str__(self) -> str:
        listed = ",".join(sorted(self.values))
        return {
            EQUALS: f"{self.key}={listed}",
            "In": f"{self.key} in ({listed})",
            "NotIn": f"{self.key} notin ({listed})",
            "DoesNotExist": f"!{self.key}",
            "Gt": f"{self.key}>{listed}",
            "Lt": f"{self.key}<{listed}",
        }.get(self.operator, self.key)


def requirements(selector: Mapping[str, Any]) -> tuple[Requirement, ...]:
    """The conditions of a LabelSelector, by key."""
    equal = (Requirement(key, EQUALS, (value,)) for key, value in selector.get("matchLabels", {}).items())
    further = map(requirement, selector.get("matchExpressions", ()))
    return tuple(sorted((*equal, *further), key=lambda one: one.key))


def requirement(fields: Mapping[str, Any]) -> Requirement:
    """One of a selector's expressions."""
    return Requirement(fields.get("key", ""), fields.get("operator", ""), tuple(fields.get("values", ())))


def matches(conditions: Iterable[Requirement], labels: Mapping[str, str]) -> bool:
    """Whether labels fulfil all conditions."""
    return all(one.matches(labels) for one in conditions)


class NodeTerm(NamedTuple):
    """A term of a required nodeAffinity: conditions on a node's labels, and on its name."""

    labels: tuple[Requirement, ...]
    fields: tuple[Requirement, ...]

    def matches(self, name: str, labels: Mapping[str, str]) -> bool:
        """Whether a node fulfils all conditions. A term without conditions matches none."""
        return any(self) and matches(self.labels, labels) and matches(self.fields, {NODE_NAME: name})

    def __str__(self) -> str:
        return ",".join(map(str, (*self.labels, *self.fields)))


def selector_errors(selector: Mapping[str, Any], path: FieldPath) -> Iterator[FieldError]:
    """The API server's errors for a LabelSelector's expressions (ValidateLabelSelector)."""
    for index, fields in enumerate(selector.get("matchExpressions", ())):
        yield from expression_errors(fields, (*path, "matchExpressions", index))


def expression_errors(fields: Mapping[str, Any], path: FieldPath, *, numbers: bool = False) -> Iterator[FieldError]:
    """The errors of one expression: its operator, and whether it has the values that the operator needs.

    `numbers`: Gt and Lt are operators, too, as in selectors of nodes.
    """
    operator, values = fields.get("operator", ""), fields.get("values", ())
    if operator in WITH_VALUES and not values:
        yield FieldError((*path, "values"), required("must be specified when `operator` is 'In' or 'NotIn'"))
    elif operator in WITHOUT_VALUES and values:
        text = forbidden("may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
        yield FieldError((*path, "values"), text)
    elif numbers and operator in COMPARING:
        if len(values) != 1:
            yield FieldError(
                (*path, "values"), required("must be specified single value when `operator` is 'Lt' or 'Gt'")
            )
    elif operator not in (*WITH_VALUES, *WITHOUT_VALUES):
        yield FieldError((*path, "operator"), invalid(operator, "not a valid selector operator"))
