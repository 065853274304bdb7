"""Checks of how controllers replace pods of an earlier template, with the API server's messages (pkg/apis/apps)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from nslab.api.sentences import forbidden, invalid, required, unsupported
from nslab.controllers.rollout import QUARTER
from nslab.errors import FieldError
from nslab.lab.types import DAEMON_SET

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.api.document import Document
    from nslab.errors import FieldPath

NEGATIVE = "must be greater than or equal to 0"
PERCENT = re.compile("[0-9]{1,9}%")
NO_PERCENT = (
    "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for "
    "validation is '[0-9]+%')"
)
BOTH = "may not be 0 when `maxSurge` is 0"
STRATEGIES = {
    "Deployment": ("strategy", ("Recreate", "RollingUpdate")),
    "StatefulSet": ("updateStrategy", ("OnDelete", "RollingUpdate")),
    DAEMON_SET: ("updateStrategy", ("OnDelete", "RollingUpdate")),
}
"""The field of each kind, and its types."""
DEFAULTS = {"Deployment": (QUARTER, QUARTER), DAEMON_SET: (1, 0), "StatefulSet": (1, 1)}
"""maxUnavailable and maxSurge; a StatefulSet has no surge."""


def rollout_errors(one: Document) -> Iterator[FieldError]:
    """The errors of a controller's strategy."""
    if one.kind not in STRATEGIES:
        return
    field, types = STRATEGIES[one.kind]
    strategy, path = one.spec.get(field) or {}, ("spec", field)
    kind, rolling = strategy.get("type") or "RollingUpdate", strategy.get("rollingUpdate")
    if kind not in types:
        yield FieldError((*path, "type"), unsupported(kind, types))
    elif kind == "Recreate" and rolling is not None:
        yield FieldError((*path, "rollingUpdate"), forbidden("may not be specified when strategy `type` is 'Recreate'"))
    elif kind == "RollingUpdate":
        yield from _rolling(one.kind, rolling or {}, (*path, "rollingUpdate"))


def _rolling(kind: str, rolling: dict[str, Any], path: FieldPath) -> Iterator[FieldError]:
    unavailable, surge = DEFAULTS[kind]
    values = {"maxUnavailable": rolling.get("maxUnavailable", unavailable), "maxSurge": rolling.get("maxSurge", surge)}
    wrong = [FieldError((*path, name), why) for name, value in values.items() if (why := _fault(name, value))]
    if (rolling.get("partition") or 0) < 0:
        wrong.append(FieldError((*path, "partition"), invalid(rolling["partition"], NEGATIVE)))
    yield from wrong
    if wrong or kind == "StatefulSet":
        return
    some, more = (_number(value) for value in values.values())
    if not some and not more:
        daemon = kind == DAEMON_SET
        text = required("cannot be 0 when maxSurge is 0") if daemon else invalid(values["maxUnavailable"], BOTH)
        yield FieldError((*path, "maxUnavailable"), text)
    elif kind == DAEMON_SET and some and more:
        text = invalid(values["maxSurge"], "may not be set when maxUnavailable is non-zero")
        yield FieldError((*path, "maxSurge"), text)


def _fault(name: str, value: int | str) -> str:
    if isinstance(value, int):
        return invalid(value, NEGATIVE) if value < 0 else ""
    if not PERCENT.fullmatch(value):
        return invalid(value, NO_PERCENT)
    return invalid(value, "must not be greater than 100%") if name == "maxUnavailable" and _number(value) > 100 else ""


def _number(value: int | str) -> int:
    return value if isinstance(value, int) else int(value.removesuffix("%"))
