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


def unwritten(failed: Mapping[str, Mapping[str, str]], services: Collection[str]) -> dict[str, dict[str, str]]:
    """Of what kube-proxies could not write (node to Service or "", all of them, to reason), what is about these."""
    found = {
        node: {service: why for service, why in reasons.items() if not service or service in services}
        for node, reasons in failed.items()
    }
    return {node: reasons for node, reasons in found.items() if reasons}
