"""Checks of nodeAffinity, with the API server's messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nslab.admission.validate_pods import pod_specs
from nslab.api.selectors import NODE_NAME, WITH_VALUES, expression_errors
from nslab.api.sentences import invalid, of_object, required
from nslab.errors import FieldError
from nslab.lab.node_selector import PREFERRED, REQUIRED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.errors import FieldPath
    from nslab.lab.stream import Documents


def node_affinity(found: Documents) -> Iterator[FieldError]:
    """The nodeAffinity of each pod and template is valid."""
    for one, path, spec in pod_specs(found):
        yield from (of_object(one, error) for error in _affinity(spec, path))


def _affinity(spec: dict[str, Any], path: FieldPath) -> Iterator[FieldError]:
    """The errors of a pod's nodeAffinity (validateNodeAffinity)."""
    affinity, path = spec.get("affinity", {}).get("nodeAffinity", {}), (*path, "affinity", "nodeAffinity")
    if REQUIRED in affinity:
        at = (*path, REQUIRED, "nodeSelectorTerms")
        terms = affinity[REQUIRED].get("nodeSelectorTerms", ())
        if not terms:
            yield FieldError(at, required("must have at least one node selector term"))
        for index, term in enumerate(terms):
            yield from _term(term, (*at, index))
    for index, one in enumerate(affinity.get(PREFERRED, ())):
        at = (*path, PREFERRED, index)
        if not 1 <= (weight := one.get("weight", 0)) <= 100:
            yield FieldError((*at, "weight"), invalid(weight, "must be in the range 1-100"))
        yield from _term(one.get("preference", {}), (*at, "preference"))


def _term(term: dict[str, Any], path: FieldPath) -> Iterator[FieldError]:
    for index, fields in enumerate(term.get("matchExpressions", ())):
        yield from expression_errors(fields, (*path, "matchExpressions", index), numbers=True)
    for index, fields in enumerate(term.get("matchFields", ())):
        yield from _field(fields, (*path, "matchFields", index))


def _field(fields: dict[str, Any], path: FieldPath) -> Iterator[FieldError]:
    operator, key = fields.get("operator", ""), fields.get("key", "")
    if operator not in WITH_VALUES:
        yield FieldError((*path, "operator"), invalid(operator, "not a valid selector operator"))
    elif len(fields.get("values", ())) != 1:
        text = required("must be only one value when `operator` is 'In' or 'NotIn' for node field selector")
        yield FieldError((*path, "values"), text)
    if key != NODE_NAME:
        yield FieldError((*path, "key"), invalid(key, "not a valid field selector key"))
