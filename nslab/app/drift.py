"""Drift: the difference between a lab's desired state and the state of this machine."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from nslab.app import controllers
from nslab.app.moment import moment, steady
from nslab.compiler import compile_lab
from nslab.compiler.networks import network
from nslab.compiler.written_by import WrittenBy
from nslab.dataclass import dataclass, replace
from nslab.lab.types import ProxyMode
from nslab.lab.views import FINISHED
from nslab.linux import owned
from nslab.linux.bird import configuration, find_bird
from nslab.linux.cni.plugins import Plugins, find_programs
from nslab.linux.netns import Namespaces, folder, named
from nslab.linux.observe.host import read_host
from nslab.linux.observe.processes import held
from nslab.linux.processes import status
from nslab.linux.processes.control import ControlClient
from nslab.linux.processes.last_words import last_words
from nslab.linux.processes.stopped import stopped
from nslab.linux.stored_lab import StoredLab, stored_lab
from nslab.linux.timeouts import scaled
from nslab.linux.visits import visiting
from nslab.objects.names import netns
from nslab.objects.needs import demand
from nslab.objects.plan import Add, diff, undone
from nslab.objects.process import Bird, NodeAgent, Process
from nslab.objects.script import inside
from nslab.objects.sysctl import Sysctl
from nslab.objects.unmanaged import Unmanaged

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from nslab.lab.types import Lab
    from nslab.linux.processes.procs import Record
    from nslab.objects.base import KernelObject, State
    from nslab.objects.needs import HostFeatures
    from nslab.objects.plan import Plan


@dataclass(frozen=True, slots=True)
class Drift:
    """The desired state and the plan that leads to it from the observed state.

    `unmanaged`: by namespace, one line for each object that the lab did not make.
    """

    lab: Lab
    host: HostFeatures
    want: State
    plan: Plan
    others: tuple[Unmanaged, ...] = ()
    """What is there and is not the lab's, in the order in which it would be taken away."""
    stopped: tuple[tuple[Process, int], ...] = ()
    """The processes that exist but are stopped (SIGSTOP), each with its pid."""
    ended: tuple[tuple[str, str], ...] = ()
    """The nodes whose processes have ended by an error, each with that."""
    idle: bool = False
    """Controllers have something to do, and their process does not run."""

    @property
    def unmanaged(self) -> dict[str, list[str]]:
        """What is not the lab's, by namespace, as `diff` names it."""
        return _by_namespace(self.others)

    @property
    def in_the_way(self) -> dict[str, list[str]]:
        """The same, without what does nothing to packets."""
        return _by_namespace(one for one in self.others if one.acts_on_packets)


def _by_namespace(others: Iterable[Unmanaged]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in others:
        found.setdefault(one.ns, []).append(one.what)
    return found


def as_seen(lab: Lab, unseen: bool = True) -> Lab:
    """The lab with its pods' readiness and ends as the nodes report them. `unseen`: a pod without a report is ready."""
    seen = status.read_status(lab.name)
    ready = {name: bool(pod["ready"]) for name, pod in seen.items()}
    finished = {name for name, pod in seen.items() if pod.get("phase") in FINISHED}
    keys = ((pod, f"{pod.namespace}/{pod.name}") for pod in lab.pods)
    pods = (replace(pod, ready=ready.get(key, unseen), finished=key in finished) for pod, key in keys)
    return replace(lab, pods=tuple(pods))


CHANGING = scaled(1.0)
"""Seconds."""
_PAUSE = 0.02


def drift_of(name: str) -> Drift:
    """Compare a running lab with its stored desired state.

    What differs while the lab changes, or is being changed, or its controllers are about to start, is looked at again,
    for at most `CHANGING` seconds.
    """
    deadline = time.monotonic() + CHANGING
    with visiting(name), Namespaces() as spaces, ControlClient(name) as control:
        while True:
            before, lab = moment(name, control), stored_lab(name)
            found = compare(spaces, as_seen(lab), (lab, *StoredLab(folder(name)).before()))
            found = replace(found, idle=controllers.are_missing(lab))
            rests = not found.plan or steady(name, before, control)
            if (rests and not found.idle) or time.monotonic() > deadline:
                return found
            time.sleep(_PAUSE)


def compare(spaces: Namespaces, lab: Lab, kept: Sequence[Lab], written_by: WrittenBy = WrittenBy.NSLAB) -> Drift:
    """Compare this machine with `lab`, whose pods have addresses. `kept`: earlier desired states, whose objects may
    still exist.

    Leaves out what components write themselves (`written_by`), and then what is unmanaged, which nobody can tell.
    """
    host = replace(read_host(spaces), programs=find_programs(lab), bird=find_bird(lab))
    demand(str(lab.proxy_mode), host)
    want = compile_lab(lab, host, written_by)
    if not named(lab.name):
        # Without a named namespace nothing of the lab can exist, so there is nothing to observe.
        return Drift(lab, host, want, diff((), want))
    from nslab.linux.observe.objects import Running, observe  # ten modules, which a fresh lab does without

    # An object of an earlier state replaces the desired one with its key: nobody can observe how a process was started.
    older = [compile_lab(old, host, written_by) for old in kept if old != lab]
    known = _known(want, older)
    there = owned.census(lab.name)
    whole = written_by is WrittenBy.NSLAB
    running = Running(there.others, held(record.pid for record in there.own)) if whole else None
    plugins = Plugins(folder(lab.name), host.iptables)
    seen = observe(spaces, lab.name, known, host.iptables, plugins, running)
    have, by_hand = _services_by_hand(lab, seen.have, known)
    ours, his = network(lab).sort_out(lab, have, known)
    present = (*ours, *_running(lab.name, known))
    others = (*map(_impostor, there.impostors), *seen.unmanaged, *map(_somebodys, (*by_hand, *his)))
    foreign = tuple(one for one in others if whole and not network(lab).is_its_own(one.what))
    plan = diff(present, want)
    return Drift(lab, host, want, plan, foreign, standing(want, stopped(there.own)), _ended(lab.name, plan))


def _ended(name: str, plan: Plan) -> tuple[tuple[str, str], ...]:
    missing = (step.obj.host for step in plan if isinstance(step, Add) and isinstance(step.obj, NodeAgent))
    return tuple((host, words) for host in missing if (words := last_words(folder(name), host)))


def _known(want: State, older: Sequence[State]) -> State:
    """The objects that may exist, one for each key: an older one, if it differs, so that the diff replaces it."""
    wanted = {obj.key: obj for obj in want}
    return tuple((wanted | {obj.key: obj for old in older for obj in old if wanted.get(obj.key) != obj}).values())


def _services_by_hand(lab: Lab, have: Sequence[KernelObject], known: State) -> tuple[list[KernelObject], list[Sysctl]]:
    """What there is without the settings that are the learner's, or a real kube-proxy's; and those.

    They are those of nodes that no lab names, where nslab starts no kube-proxy.
    """
    if lab.proxy_mode is not ProxyMode.NONE:
        return [*have], []
    nodes, known_keys = {netns(lab.name, node.name) for node in lab.nodes}, {obj.key for obj in known}
    by_hand = [obj for obj in have if isinstance(obj, Sysctl) and obj.ns in nodes and obj.key not in known_keys]
    return [obj for obj in have if obj not in by_hand], by_hand


def _impostor(record: Record) -> Unmanaged:
    what, kill = f"process {record.pid} plays a {record.role} that is not the lab's", f"kill -KILL {record.pid}"
    return Unmanaged(record.ns, what, (kill,), record.pid, record.start, acts_on_packets=False)


def _somebodys(obj: KernelObject) -> Unmanaged:
    """What a learner made by hand where that is for learners to do, as the commands that make it."""
    add, remove = inside(Add(obj)), inside(undone(obj))
    return Unmanaged(obj.ns, "; ".join(add), tuple(remove))


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
            yield replace(obj, config=configuration(folder(name), obj.host)) if isinstance(obj, Bird) else obj
