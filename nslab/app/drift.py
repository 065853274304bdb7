"""Drift: what there is of a lab against what is wanted of it."""

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
    """What is wished, what there is of it, and the steps from here to there."""

    lab: Lab
    host: Host
    want: State
    plan: Plan
    unmanaged: dict[str, list[str]] = field(default_factory=dict)
    stopped: tuple[tuple[Process, int], ...] = ()
    """Processes that are there and stand still, with their numbers."""


def as_seen(lab: Lab) -> Lab:
    """The lab with what its nodes found of its pods; one that nobody has seen yet counts as ready."""
    seen = status.read_status(lab.name)
    ready = {name: bool(pod["ready"]) for name, pod in seen.items()}
    finished = {name for name, pod in seen.items() if pod.get("phase") in FINISHED}
    keys = ((pod, f"{pod.namespace}/{pod.name}") for pod in lab.pods)
    pods = (replace(pod, ready=ready.get(key, True), finished=key in finished) for pod, key in keys)
    return replace(lab, pods=tuple(pods))


def drift_of(name: str) -> Drift:
    """What there is of a running lab against what it was last brought up as."""
    lab = stored_lab(name)
    with Namespaces() as spaces:
        return compare(spaces, as_seen(lab), (lab, *StoredLab(folder(name)).before()))


def compare(spaces: Namespaces, lab: Lab, kept: Sequence[Lab], written_by: WrittenBy = WrittenBy.NSLAB) -> Drift:
    """What there is against `lab`, its pods placed; `kept`: what was wished before, and may be there still.

    What components write themselves (`written_by`) is left out.
    """
    host = replace(read_host(spaces), programs=find_programs(lab))
    demand(str(lab.proxy_mode), host)
    want = compile_lab(lab, host, written_by)
    if not named(lab.name):
        # Names come first: what no name leads to is not there, so it need not be looked for.
        return Drift(lab, host, want, diff((), want))
    # What was made for an older wish goes before what is only wished; no one can see what a process was started as.
    older = [compile_lab(old, host, written_by) for old in kept if old != lab]
    known = _known(want, older)
    seen = observe(spaces, lab.name, known, host.iptables, Plugins(folder(lab.name), host.iptables))
    ours, his = network(lab).sort_out(lab, seen.have, known)
    for obj in his:
        line = command(Add(obj)).replace(f" -n {obj.ns}", "", 1)
        seen.unmanaged.setdefault(obj.ns, []).append(line)
    table = procs.look()
    for record in owned.impostors(lab.name, table):
        seen.unmanaged.setdefault(record.ns, []).append(
            f"process {record.pid} plays a {record.role} that is not the lab's"
        )
    processes = owned.processes(lab.name, table)
    have = (*ours, *_running(lab.name, known))
    return Drift(lab, host, want, diff(have, want), _shown(lab, seen.unmanaged), standing(want, stopped(processes)))


def _known(want: State, older: Sequence[State]) -> State:
    """What may be there, each once: as an older wish had it rather than as it is wanted, for then it is made anew."""
    wanted = {obj.key: obj for obj in want}
    return tuple((wanted | {obj.key: obj for old in older for obj in old if wanted.get(obj.key) != obj}).values())


def _shown(lab: Lab, seen: dict[str, list[str]]) -> dict[str, list[str]]:
    """What nobody of the lab made, but for what its network plugin makes for itself."""
    foreign = {ns: [line for line in lines if not network(lab).is_its_own(line)] for ns, lines in seen.items()}
    return {ns: lines for ns, lines in foreign.items() if lines}


def standing(want: State, found: Iterable[Record]) -> tuple[tuple[Process, int], ...]:
    """What these processes, which stand still, are in a state."""
    numbers = {(record.ns, record.role): record.pid for record in found}
    wanted = (obj for obj in want if isinstance(obj, Process))
    return tuple((obj, numbers[obj.ns, obj.key[2]]) for obj in wanted if (obj.ns, obj.key[2]) in numbers)


def _running(name: str, known: State) -> Iterator[Process]:
    """The processes of a state that run, found in the lab's journal; and those that their nodes see to."""
    parts = set(owned.running(name))
    parts |= status.kept(name, parts)
    for obj in known:
        if isinstance(obj, Process) and (obj.ns, obj.key[2]) in parts:
            yield obj
