"""The values to which a JSONPath template leads in an object, and its text (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nslab.api.jsonpath import (
    EveryStep,
    FieldStep,
    FilterStep,
    LiteralStep,
    RangeBlock,
    SliceStep,
    TemplateError,
    UnionStep,
    as_text,
    parse,
    reason,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from nslab.api.jsonpath import Step, Template, Way

_TYPES = {dict: "map[string]interface {}", str: "string", bool: "bool", int: "int64", float: "float64"}
"""What kubectl calls the types of values."""
_ORDERED = (int, float, str)


def rendered(text: str, value: Any) -> str:
    """The text of a template for an object; TemplateError in kubectl's words."""
    template = parse(text)
    try:
        return "".join(_texts(template, value))
    except (ValueError, RecursionError) as error:
        why = f"Error executing template: {reason(error)}"
        raise TemplateError(f'error: error executing jsonpath "{text}": {why}') from None


def found(text: str, value: Any) -> list[Any]:
    """All values to which a template leads."""
    template = parse(text)
    try:
        return [one for way in template if not isinstance(way, RangeBlock) for one in _values(way, [value])]
    except (ValueError, RecursionError) as error:
        raise TemplateError(f"error: {reason(error)}") from None


def _texts(template: Template, value: Any) -> Iterator[str]:
    for part in template:
        if isinstance(part, RangeBlock):
            for one in _values(part.way, [value]):
                yield from _texts(part.body, one)
        else:
            yield " ".join(map(as_text, _values(part, [value])))


def _values(way: Way, values: Sequence[Any]) -> Sequence[Any]:
    for step in way:
        values = [*_next(step, values)]
    return values


def _next(step: Step, values: Iterable[Any]) -> Iterator[Any]:
    match step:
        case LiteralStep(value):
            yield value
        case FieldStep(name):
            yield from (value[name] for value in values if isinstance(value, dict) and name in value)
        case EveryStep(deep=False):
            yield from (inner for value in values for inner in _inside(value))
        case EveryStep():
            yield from _deep(values)
        case UnionStep(ways):
            kept = [*values]
            yield from (value for way in ways for value in _values(way, kept))
        case SliceStep():
            yield from (one for value in values if value is not None for one in _sliced(step, value))
        case FilterStep():
            yield from (one for value in values for one in _list_to_filter(value) if _passes(step, one))


def _inside(value: Any) -> Sequence[Any]:
    return [*value.values()] if isinstance(value, dict) else value if isinstance(value, list) else ()


def _deep(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        if inside := _inside(value):
            yield value
            yield from _deep(inside)


def _sliced(step: SliceStep, value: Any) -> Sequence[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{_TYPES.get(type(value), 'value')} is not array or slice")
    length = len(value)
    begin = step.begin or 0
    begin += length if begin < 0 else 0
    end = begin + 1 if step.one else length if step.end is None else step.end
    end += length if end < 0 else 0
    if begin == end:
        return ()
    for index, outside in ((begin, not 0 <= begin < length), (end - 1, not 0 <= end <= length)):
        if outside:
            raise ValueError(f"array index out of bounds: index {index}, length {length}")
    if begin > end:
        raise ValueError(f"starting index {begin} is greater than ending index {end}")
    if step.step is not None and step.step <= 0:
        raise ValueError("step must be > 0")
    return value[begin : end : step.step or 1]


def _list_to_filter(value: Any) -> Sequence[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{as_text(value)} is not array or slice and cannot be filtered")
    return value


def _passes(step: FilterStep, one: Any) -> bool:
    left = _values(step.left, [one])
    if not step.operator:
        return bool(left)
    right = _values(step.right, [one])
    if not left or not right:
        return False
    if len(left) > 1 or len(right) > 1:
        raise ValueError("can only compare one element at a time")
    return _compared(left[0], step.operator, right[0])


def _compared(left: Any, operator: str, right: Any) -> bool:
    if operator not in ("==", "!=", "<", "<=", ">", ">="):
        raise ValueError(f"unrecognized filter operator {operator}")
    equality = operator in ("==", "!=")
    if not isinstance(left, _ORDERED) or not isinstance(right, _ORDERED) or (isinstance(left, bool) and not equality):
        raise ValueError("invalid type for comparison")
    if type(left) is not type(right):
        raise ValueError("incompatible types for comparison")
    if equality:
        return (left == right) == (operator == "==")
    less, same = bool(left < right), bool(left == right)  # type: ignore[operator]
    return {"<": less, "<=": less or same, ">": not (less or same), ">=": not less}[operator]
