"""Checks of containers' securityContexts: rights that nslab does not grant, and root against runAsNonRoot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.admission.validate_pods import of_pod, templates
from nslab.api import security
from nslab.api.images import played
from nslab.api.words import listed, shown
from nslab.errors import FieldError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.api.pod_types import Container, Pod
    from nslab.errors import FieldPath
    from nslab.lab.stream import Documents

CONTEXT = "securityContext"


def rights(found: Documents) -> Iterator[FieldError]:
    """Containers request only rights that nslab grants. Replicas are not checked again."""
    for _, place, pod in templates(found):
        for field, index, container in of_pod(played(pod)):
            who = f"container {shown(container.name)}" if container.name else "this container"
            path = (*place, "spec", field, index, CONTEXT)
            if container.security.privileged:
                text = f"{who} cannot be privileged: a lab's containers are isolated from the machine; remove it"
                yield FieldError((*path, "privileged"), text)
            yield from _capabilities(who, container, (*path, "capabilities"))
            yield from _root(who, pod, container, path)


def _capabilities(who: str, container: Container, path: FieldPath) -> Iterator[FieldError]:
    """`add` contains only default capabilities, `drop` only existing ones."""
    for index, name in enumerate(container.security.add):
        if name not in security.DEFAULT:
            text = f"{who} cannot have {shown(name)}; allowed are {listed(security.DEFAULT)}"
            yield FieldError((*path, "add", index), text)
    known = (security.ALL, *security.DEFAULT, *security.OTHERS)
    for index, name in enumerate(container.security.drop):
        if name not in known:
            text = f"{who} drops {shown(name)}, and there is no such capability"
            yield FieldError((*path, "drop", index), text, word=name, known=known)


def _root(who: str, pod: Pod, container: Container, path: FieldPath) -> Iterator[FieldError]:
    """With runAsNonRoot there is a runAsUser other than 0: nslab's images define no user."""
    own = container.security.non_root
    asked = pod.security.non_root if own is None else own
    if asked and security.user(pod.security, container.security) == 0:
        at = path if own is not None else (*path[:-3], CONTEXT)
        yield FieldError(
            (*at, "runAsNonRoot"), f"{who} has runAsNonRoot, and would run as root; set runAsUser: 1000, for example"
        )
