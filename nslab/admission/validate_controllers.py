"""Checks of controllers (Deployments, StatefulSets, Jobs …), with the API server's messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nslab.admission.validate_objects import unique_names
from nslab.admission.validate_rollouts import rollout_errors
from nslab.api.selectors import matches, selector_errors
from nslab.api.sentences import invalid, of_object, required, unsupported
from nslab.api.words import shown
from nslab.errors import FieldError
from nslab.lab import replicas
from nslab.lab.types import ONE_NUMBER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.api.document import Document
    from nslab.errors import FieldPath
    from nslab.lab.stream import Documents

SELECTOR: FieldPath = ("spec", "selector")
TEMPLATE: FieldPath = ("spec", "template")
COUNTS = ("parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished")
NEGATIVE = "must be greater than or equal to 0"
GENERATED = ("batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name", "controller-uid", "job-name")
"""The labels that the API server gives a Job's pods, and selects them by."""


def controllers(found: Documents) -> Iterator[FieldError]:
    """Each controller is valid, and the total of pods is within the limit."""
    by_kind: dict[str, list[Document]] = {}
    for one in found.controllers:
        by_kind.setdefault(one.kind, []).append(one)
    for some in by_kind.values():
        yield from unique_names(some)
    for one in found.controllers:
        for error in _controller(one):
            yield of_object(one, error)
    total = sum(max(one.view.replicas, 0) for one in found.controllers)
    if total > replicas.MOST:
        most = max(found.controllers, key=lambda one: one.view.replicas)
        text = f"the {most.kind}s ask for {total} replicas, and the limit is {replicas.MOST}"
        field = "replicas" if most.kind in ONE_NUMBER else "completions"
        yield FieldError((*most.path, "spec", field), text)
    owners = {one.view.owner_name for one in found.controllers}
    for one in found.pods:
        if one.view.owner and one.view.owner not in owners:
            kind, _, owner = one.view.owner.partition("/")
            text = f"the owner of pod {shown(one.name)}, {kind} {shown(owner)}, is not in the file"
            yield FieldError((*one.path, "metadata", "ownerReferences"), f"{text}; remove ownerReferences")


def _controller(one: Document) -> Iterator[FieldError]:
    if one.kind in ONE_NUMBER and one.view.replicas < 0:
        yield FieldError(("spec", "replicas"), invalid(one.view.replicas, NEGATIVE))
    selector, wrong = one.spec.get("selector", {}), []
    if one.kind != "ReplicationController":
        wrong = [*selector_errors(selector, SELECTOR)]
        yield from wrong
    if not wrong:
        yield from _job_selector(one) if one.kind == "Job" else _selector(one)
    yield from rollout_errors(one)
    yield from job_errors(one.spec, ("spec",)) if one.kind == "Job" else _template(one.spec, ("spec",), ("Always",))


def job_errors(spec: dict[str, Any], path: FieldPath) -> Iterator[FieldError]:
    """The errors of a Job's own fields (validateJobSpec); `path`: of its spec."""
    for name in COUNTS:
        if (number := spec.get(name, 0)) < 0:
            yield FieldError((*path, name), invalid(number, NEGATIVE))
    yield from _template(spec, path, ("OnFailure", "Never"))


def _template(spec: dict[str, Any], path: FieldPath, policies: tuple[str, ...]) -> Iterator[FieldError]:
    """A template has containers, and a restartPolicy that its controller can do with."""
    template = spec.get("template", {})
    policy = template.get("spec", {}).get("restartPolicy") or "Always"
    if "spec" not in template:
        yield FieldError((*path, "template", "spec", "containers"), required())
    elif policy not in policies:
        yield FieldError((*path, "template", "spec", "restartPolicy"), unsupported(policy, policies))


def _selector(one: Document) -> Iterator[FieldError]:
    """A selector selects something, and the pods of the template (ValidatePodTemplateSpecForReplicaSet)."""
    labels = dict(one.view.template.labels)
    if not one.view.selector and one.kind != "ReplicationController":
        # The API server has this sentence of a ReplicaSet, too.
        kind = "deployment" if one.kind == "ReplicaSet" else one.kind.lower()
        yield FieldError(SELECTOR, invalid({}, f"empty selector is invalid for {kind}"))
    elif not matches(one.view.selector, labels):
        text = invalid(dict(sorted(labels.items())), "`selector` does not match template `labels`")
        yield FieldError((*TEMPLATE, "metadata", "labels"), text)


def _job_selector(one: Document) -> Iterator[FieldError]:
    """A Job's selector is the API server's, unless `manualSelector` is set.

    What the API server generated stays in `kubectl get -o yaml`, and is no error here.
    """
    if one.spec.get("manualSelector"):
        if "selector" not in one.spec:
            yield FieldError(SELECTOR, required())
        else:
            yield from _selector(one) if one.view.selector else ()
    elif any(each.key not in GENERATED for each in one.view.selector):
        yield FieldError(SELECTOR, invalid(one.spec["selector"], "`selector` not auto-generated"))
