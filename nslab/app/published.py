"""What control gets of a lab for its kube-proxies and Felixes, and what these could not write of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.compiler.endpoints import resolve
from nslab.dataclass import replace
from nslab.lab.addons import with_api_service

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from nslab.lab.types import Lab
    from nslab.proxy.model import ServiceInfo


def published(lab: Lab) -> tuple[ServiceInfo, ...]:
    """The Services with every pod behind them: control knows which pods have come to their end, and for how long."""
    pods = tuple(replace(pod, finished=False) for pod in lab.pods)
    return resolve(with_api_service(replace(lab, pods=pods)))


def failures(failed: Mapping[str, Mapping[str, str]], lab: Lab, before: Lab | None) -> dict[str, dict[str, str]]:
    """What components could not write of what has changed in a lab. `before`: None: everything was written anew."""
    mine = {service.key: service for service in published(lab)}
    if before:
        old = {service.key: service for service in published(before)}
        mine = {key: service for key, service in mine.items() if service != old.get(key)}
    return unwritten(failed, {*mine, "felix"})


def unwritten(failed: Mapping[str, Mapping[str, str]], services: Collection[str]) -> dict[str, dict[str, str]]:
    """Of what kube-proxies could not write (node to Service or "", all of them, to reason), what is about these."""
    found = {
        node: {service: why for service, why in reasons.items() if not service or service in services}
        for node, reasons in failed.items()
    }
    return {node: reasons for node, reasons in found.items() if reasons}
