"""Drift: the difference between a lab's desired state and the state of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.compiler import compile_lab
from nslab.compiler.networks import network
from nslab.compiler.written_by import WrittenBy
from nslab.dataclass import dataclass, field, replace
from nslab.lab.views import FINISHED
from nslab.linux import owned
from nslab.linux.cni.plugins import Plugins, find_programs
from nslab.linux.netns import Namespaces, folder, named
from nslab.linux.observe.host import read_host
from nslab.linux.observe.objects import observe
from nslab.linux.processes import procs, status
from nslab.linux.processes.stopped import stopped
from nslab.linux.stored_lab import StoredLab, stored_lab
from nslab.objects.needs import demand
from nslab.objects.plan import Add, diff
from nslab.objects.process import Process
from nslab.objects.script import command

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from nslab.lab.types import Lab
    from nslab.linux.processes.procs import Record
    from nslab.objects.base import State
    from nslab.objects.needs import Host
    from nslab.objects.plan import Plan


@dataclass(frozen=True, slots=True)
class Drift:
    """The desired state and the plan that leads to it from the observed state.

    `unmanaged`: by namespace, one line for each object that the lab did not make.
    """

    lab: Lab
    host: Host
    want: State
    plan: Plan
    unmanaged: dict[str, list[str]] = field(default_factory=dict)
    stopped: tuple[tuple[Process, int], ...] = ()
    """The processes that exist but are stopped (SIGSTOP), each with its pid."""


def as_seen(lab: Lab) -> Lab:
    """The lab with its pods' readiness and ends as the nodes report them; a pod without a report counts as ready."""
    seen = status.read_status(lab.name)
    ready = {name: bool(pod["ready"]) for name, pod in seen.items()}
    finished = {name for name, pod in seen.items() if pod.get("phase") in FINISHED}
    keys = ((pod, f"{pod.namespace}/{pod.name}") for pod in lab.pods)
    pods = (replace(pod, ready=ready.get(key, True), finished=key in finished) for pod, key in keys)
    return replace(lab, pods=tuple(pods))


def drift_of(name: str) -> Drift:
    """Compare a running lab with its stored desired state."""
    lab = stored_lab(name)
    with Namespaces() as spaces:
        return compare(spaces, as_seen(lab), (lab, *StoredLab(folder(name)).before()))


def compare(spaces: Namespaces, lab: Lab, kept: Sequence[Lab], written_by: WrittenBy = WrittenBy.NSLAB) -> Drift:
    """Compare this machine with `lab`, whose pods have addresses. `kept`: earlier desired states, whose objects may
    still exist.

    Leaves out what components write themselves (`written_by`).
    """
    host = replace(read_host(spaces), programs=find_programs(lab))
    demand(str(lab.proxy_mode), host)
    want = compile_lab(lab, host, written_by)
    if not named(lab.name):
        # Without a named namespace nothing of the lab can exist, so there is nothing to observe.
        return Drift(lab, host, want, diff((), want))
    # An object of an earlier state replaces the desired one with its key: nobody can observe how a process was started.
    older = [compile_lab(old, host, written_by) for old in kept if old != lab]
    known = _known(want, older)
    seen = observe(spaces, lab.name, known, host.iptables, Plugins(folder(lab.name), host.iptables))
    managed, unmanaged = network(lab).sort_out(lab, seen.have, known)
    for obj in unmanaged:
        line = command(Add(obj)).replace(f" -n {obj.ns}", "", 1)
        seen.unmanaged.setdefault(obj.ns, []).append(line)
    table = procs.look()
    for record in owned.impostors(lab.name, table):
        seen.unmanaged.setdefault(record.ns, []).append(
            f"process {record.pid} plays a {record.role} that is not the lab's"
        )
    processes = owned.processes(lab.name, table)
    have = (*managed, *_running(lab.name, known))
    return Drift(lab, host, want, diff(have, want), _shown(lab, seen.unmanaged), standing(want, stopped(processes)))


def _known(want: State, older: Sequence[State]) -> State:
    """The objects that may exist, one for each key: an older one, if it differs, so that the diff replaces it."""
    wanted = {obj.key: obj for obj in want}
    return tuple((wanted | {obj.key: obj for old in older for obj in old if wanted.get(obj.key) != obj}).values())


def _shown(lab: Lab, seen: dict[str, list[str]]) -> dict[str, list[str]]:
    """The unmanaged objects, without those that the lab's network plugin makes for itself."""
    foreign = {ns: [line for line in lines if not network(lab).is_its_own(line)] for ns, lines in seen.items()}
    return {ns: lines for ns, lines in foreign.items() if lines}


def standing(want: State, found: Iterable[Record]) -> tuple[tuple[Process, int], ...]:
    """The processes of `want` that are among the stopped processes `found`, each with its pid."""
    numbers = {(record.ns, record.role): record.pid for record in found}
    wanted = (obj for obj in want if isinstance(obj, Process))
    return tuple((obj, numbers[obj.ns, obj.key[2]]) for obj in wanted if (obj.ns, obj.key[2]) in numbers)


def _running(name: str, known: State) -> Iterator[Process]:
    """The processes of a state that run according to the lab's journal, and those that their nodes restart."""
    parts = set(owned.running(name))
    parts |= status.kept(name, parts)
    for obj in known:
        if isinstance(obj, Process) and (obj.ns, obj.key[2]) in parts:
            yield obj
