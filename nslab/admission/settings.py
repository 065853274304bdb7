"""Changes to a running lab by `nslab set` and `nslab cni`. Pure: a lab in, a new lab out."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from nslab.dataclass import replace
from nslab.errors import LabFileError, UsageError
from nslab.lab.network_rules import BACKENDS, RULES, fields
from nslab.lab.stream import lab_schema
from nslab.lab.types import Encapsulation, ProxyMode, Scheduler
from nslab.policy.model import DATAPLANES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nslab.lab.types import Cni, Lab

SCHEDULERS = tuple(map(str, Scheduler))
SETTINGS: dict[str, tuple[str, ...]] = {
    "proxy-mode": tuple(map(str, ProxyMode)),
    "encapsulation": tuple(map(str, Encapsulation)),
    "backend": tuple(BACKENDS[kind]["backend"] for kind in (Encapsulation.VXLAN, Encapsulation.NONE)),
    "dataplane": DATAPLANES,
    "scheduler": SCHEDULERS,
}


@cache
def _in_file() -> frozenset[str]:
    """The fields of a lab file that a running lab takes over from there alone."""
    spec = lab_schema()["properties"]["spec"]["properties"]
    return frozenset({*spec, *spec["cni"]["properties"]} - {*SETTINGS})


def setting(text: str) -> tuple[str, str]:
    """The name and value of NAME=VALUE, the value in any case. Raises UsageError for an unknown one."""
    name, _, value = text.partition("=")
    known = SETTINGS.get(name)
    if name in _in_file():
        raise UsageError(f"{name} is no setting of a running lab: change it in the lab file, then nslab up FILE")
    if known is None:
        raise UsageError(f"{text!r} is not a setting; settings are {', '.join(f'{name}=…' for name in SETTINGS)}")
    meant = {one.lower(): one for one in known}.get(value.lower())
    if meant is None:
        raise UsageError(f"{name} is one of {', '.join(known)}, not {value!r}")
    return name, meant


def with_settings(lab: Lab, settings: Mapping[str, str]) -> Lab:
    """The lab with other settings. Raises UsageError if they exclude each other, as for a lab file."""
    encapsulation = _encapsulation(lab, settings)
    mode = ProxyMode(settings.get("proxy-mode", lab.proxy_mode))
    if "scheduler" in settings and mode is not ProxyMode.IPVS:
        raise UsageError(f"a scheduler is IPVS's, and proxy-mode {mode} has none; add proxy-mode={ProxyMode.IPVS}")
    if "dataplane" in settings and not RULES[lab.plugin].release:
        raise UsageError(f"plugin {lab.plugin} has no dataplane; a dataplane is calico's")
    own = {name: settings.get(name, getattr(lab, name)) for name in ("scheduler", "dataplane")}
    return _anew(replace(lab, **own), encapsulation, mode)


def _encapsulation(lab: Lab, settings: Mapping[str, str]) -> Encapsulation:
    backends = RULES[lab.plugin].backends
    if "backend" in settings and not backends:
        raise UsageError(f"plugin {lab.plugin} has no backend; a backend is flannel's")
    if "encapsulation" in settings and backends:
        raise UsageError(f"plugin {lab.plugin} has no encapsulation; it has a backend in its place")
    if backend := settings.get("backend"):
        if backend == fields(lab.plugin, lab.encapsulation)["backend"]:
            return lab.encapsulation  # with directRouting or without
        return next(kind for kind, asked in BACKENDS.items() if asked == {"backend": backend})
    return Encapsulation(settings.get("encapsulation", lab.encapsulation))


def values(lab: Lab) -> dict[str, str]:
    """The settings of a lab; it has a dataplane with calico alone, and a scheduler in ipvs mode alone."""
    crossing = {name: str(value) for name, value in fields(lab.plugin, lab.encapsulation).items() if name in SETTINGS}
    found = {"proxy-mode": str(lab.proxy_mode), **crossing}
    found |= {"dataplane": lab.dataplane} if RULES[lab.plugin].release else {}
    return found | ({"scheduler": lab.scheduler} if lab.proxy_mode is ProxyMode.IPVS else {})


def changed_settings(lab: Lab, wanted: Mapping[str, str]) -> list[str]:
    """A line for each wanted setting: NAME=VALUE, and the value that the lab has so far."""
    was = values(lab)
    return [
        f"{name}={value}" + (f" (was {was[name]})" if was.get(name, value) != value else "")
        for name, value in wanted.items()
    ]


def with_plugins(lab: Lab, cni: Cni) -> Lab:
    """The lab with these CNI plugins as its pod network."""
    return _anew(lab, cni=cni)


def _anew(
    lab: Lab, encapsulation: Encapsulation | None = None, mode: ProxyMode | None = None, cni: Cni | None = None
) -> Lab:
    from nslab.admission.load import completed
    from nslab.lab.dump import documents
    from nslab.lab.lab_document import set_to

    # Pods keep their addresses where possible; `assign_addresses` decides that.
    unassigned = documents(replace(lab, pods=tuple(replace(pod, assigned=None) for pod in lab.pods)))
    set_to(unassigned.lab, encapsulation, mode, cni)
    try:
        return completed(unassigned, lab.name, expanded=True)
    except LabFileError as error:
        # Without positions: the lab comes from no file.
        raise UsageError("\n".join(one.sentence for one in error.errors)) from None
