"""The settings of a running lab that `nslab set` changes. Pure: from a lab comes another."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from nslab.errors import UsageError
from nslab.lab.types import Encapsulation, ProxyMode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nslab.lab.types import Lab

SCHEDULERS = ("rr", "wrr", "lc", "sh", "mh")
SETTINGS: dict[str, tuple[str, ...]] = {
    "proxy-mode": tuple(map(str, ProxyMode)),
    "encapsulation": tuple(map(str, Encapsulation)),
    "scheduler": SCHEDULERS,
}


def setting(text: str) -> tuple[str, str]:
    """NAME=VALUE, both known."""
    name, _, value = text.partition("=")
    known = SETTINGS.get(name)
    if known is None:
        raise UsageError(f"{text!r} is no setting; there are {', '.join(f'{name}=…' for name in SETTINGS)}")
    if value not in known:
        raise UsageError(f"{name} is one of {', '.join(known)}, not {value!r}")
    return name, value


def with_settings(lab: Lab, settings: Mapping[str, str]) -> Lab:
    """The lab with other settings; refused, as its file would be, if they do not go together."""
    from nslab.lab.dump import dump
    from nslab.lab.load import parse

    encapsulation = Encapsulation(settings.get("encapsulation", lab.encapsulation))
    mode = ProxyMode(settings.get("proxy-mode", lab.proxy_mode))
    # What pods were given stays where it can; that is for `up` to say.
    pods = tuple(replace(pod, assigned=None) for pod in lab.pods)
    lab = replace(lab, scheduler=settings.get("scheduler", lab.scheduler), pods=pods)
    return parse(dump(lab), lab.name, encapsulation, mode)
