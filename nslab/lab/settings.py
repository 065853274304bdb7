"""The settings of a running lab that `nslab set` and `nslab cni` change. Pure: from a lab comes another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.dataclass import replace
from nslab.errors import LabFileError, UsageError
from nslab.lab.types import Encapsulation, ProxyMode, Scheduler

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nslab.lab.types import Cni, Lab

SCHEDULERS = tuple(map(str, Scheduler))
SETTINGS: dict[str, tuple[str, ...]] = {
    "proxy-mode": tuple(map(str, ProxyMode)),
    "encapsulation": tuple(map(str, Encapsulation)),
    "scheduler": SCHEDULERS,
}


def setting(text: str) -> tuple[str, str]:
    """NAME=VALUE, both known; the value in any case."""
    name, _, value = text.partition("=")
    known = SETTINGS.get(name)
    if known is None:
        raise UsageError(f"{text!r} is no setting; there are {', '.join(f'{name}=…' for name in SETTINGS)}")
    meant = {one.lower(): one for one in known}.get(value.lower())
    if meant is None:
        raise UsageError(f"{name} is one of {', '.join(known)}, not {value!r}")
    return name, meant


def with_settings(lab: Lab, settings: Mapping[str, str]) -> Lab:
    """The lab with other settings; refused, as its file would be, if they do not go together."""
    encapsulation = Encapsulation(settings.get("encapsulation", lab.encapsulation))
    mode = ProxyMode(settings.get("proxy-mode", lab.proxy_mode))
    return _anew(replace(lab, scheduler=settings.get("scheduler", lab.scheduler)), encapsulation, mode)


def with_plugins(lab: Lab, cni: Cni) -> Lab:
    """The lab with its pods wired by these CNI plugins."""
    return _anew(lab, cni=cni)


def _anew(
    lab: Lab, encapsulation: Encapsulation | None = None, mode: ProxyMode | None = None, cni: Cni | None = None
) -> Lab:
    from nslab.lab.dump import documents
    from nslab.lab.load import completed, set_to

    # What pods were given stays where it can; that is for `place` to say.
    unassigned = documents(replace(lab, pods=tuple(replace(pod, assigned=None) for pod in lab.pods)))
    set_to(unassigned.lab, encapsulation, mode, cni)
    try:
        return completed(unassigned, lab.name)
    except LabFileError as error:
        # No place: nobody has a file in which it would be one.
        raise UsageError("\n".join(one.sentence for one in error.errors)) from None
