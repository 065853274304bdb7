"""Explains a failed call to a Service by what differs, or else by where its packets were last seen (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.dataclass import dataclass, field, replace
from nslab.objects.inet import Address
from nslab.objects.names import host, netns
from nslab.objects.plan import Remove, Replace
from nslab.objects.process import KubeProxy, Process
from nslab.objects.script import command
from nslab.probes import Outcome
from nslab.probes.cause import Cause, CauseKind
from nslab.probes.evidence import What
from nslab.trace.ending import described, ending, few
from nslab.trace.explain import differs
from nslab.trace.words import trouble, up

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from ipaddress import IPv4Address

    from nslab.objects.plan import Plan, Step
    from nslab.probes import Call, CallResult
    from nslab.probes.evidence import Trail
    from nslab.trace.ending import Ending
    from nslab.trace.needs import Need

DNS_HOST = "kube-system_kube-dns"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known besides the call: failed `pairs` of hosts (source, target) with their causes; `trails`: the
    call, repeated and followed; `owners`: the hosts that have an address; `unmanaged`: what is not the lab's, by
    namespace; `flows`: earlier connections that conntrack has as no rule translates them now; `needs`: of the call's
    predicted conversation."""

    pairs: Mapping[tuple[str, str], Cause] = field(default_factory=dict)
    trails: Sequence[Trail] = ()
    owners: Mapping[IPv4Address, Sequence[str]] = field(default_factory=dict)
    unmanaged: Mapping[str, Sequence[str]] = field(default_factory=dict)
    flows: Sequence[str] = ()
    needs: Sequence[Need] = ()

    def owner(self, address: IPv4Address) -> str:
        """The host that should have an address; "" if none should."""
        return next(iter(self.owners.get(address, ())), "")

    @property
    def lost(self) -> list[Trail]:
        """The repetitions without an answer."""
        return [trail for trail in self.trails if not trail.answered]

    def end(self, trail: Trail) -> Ending:
        """Where a repetition ended."""
        return ending(trail, self.owner(trail.drew))


def explain_call(result: CallResult, lab: str, differences: Plan, evidence: Evidence) -> Cause:
    """The cause. `differences`: the plan of `up`."""
    call = result.call
    silent = silent_pods(result, evidence)
    for pod in silent:
        if reason := evidence.pairs.get((call.source, pod)) or evidence.pairs.get((call.node, pod)):
            sentence = f"{pod} is not reached by its own address either: {reason.sentence}"
            return replace(reason, sentence=sentence, seen="")
    if step := next(_suspects(result, lab, differences, silent, evidence), None):
        return differs(step, f"{trouble(step)}{_mending(step)}{_dead(step, differences)}")
    return _layer(result, lab, differences, evidence, silent)


def lost_pods(result: CallResult, evidence: Evidence) -> tuple[str, ...]:
    """The pods that were drawn and did not answer. Who answered the call itself may be slow when it is repeated."""
    answers = result.call.answers
    pods, heard = {one.pod for one in answers}, {one.pod for one in answers if one.hostname in result.answered}
    drawn: dict[str, bool] = {}
    for trail in evidence.lost:
        pod = evidence.owner(trail.drew)
        drawn[pod] = drawn.get(pod, True) and trail.reached
    return tuple(pod for pod, reached in drawn.items() if pod in pods and not (reached and pod in heard))


def silent_pods(result: CallResult, evidence: Evidence) -> Sequence[str]:
    """Those; if nobody knows who was drawn, the pods that never answered."""
    if known := lost_pods(result, evidence):
        return known
    answered = {evidence.owner(trail.drew) for trail in evidence.trails if trail.answered}
    never = [a.pod for a in result.silent if a.hostname not in result.answered and a.pod not in answered]
    failed = [pod for pod in never if {(result.call.source, pod), (result.call.node, pod)} & {*evidence.pairs}]
    return failed or never


def _translated(result: CallResult, evidence: Evidence) -> bool:
    """Whether each repetition was seen to go to an endpoint: then the rules that choose one are right."""
    pods = {answer.pod for answer in result.call.answers}
    return bool(evidence.trails) and all(evidence.owner(trail.drew) in pods for trail in evidence.trails)


def _suspects(
    result: CallResult, lab: str, differences: Plan, silent: Sequence[str], evidence: Evidence
) -> Iterator[Step]:
    """Steps that would repair an object on the path: first what the packet meets, then what is this Service's."""
    node, unresolved = netns(lab, result.call.node), netns(lab, DNS_HOST)
    if result.unresolved:
        yield from (step for step in differences if step.obj.ns == unresolved)
    translating = [step for step in differences if step.obj.ns == node and step.obj.by == "kube-proxy"]
    yield from _on_the_way(translating, evidence.needs)
    yield from (step for step in translating if _is_about(step, result.call))
    if _translated(result, evidence):
        yield from (step for step in translating if not isinstance(step.obj, KubeProxy) and not _of_service(step))
    else:
        yield from (step for step in translating if isinstance(step.obj, KubeProxy))
        yield from translating
    behind = {netns(lab, pod) for pod in silent}
    yield from (step for step in differences if step.obj.ns in behind)


def _on_the_way(steps: Sequence[Step], needs: Sequence[Need]) -> Iterator[Step]:
    """Those of the rules that the predicted packet matches, in its order."""
    for need in needs:
        yield from (step for step in steps if step.obj.key == need.key and not isinstance(step.obj, Process))


def _is_about(step: Step, call: Call) -> bool:
    """Whether it is the Service's; also a rule that should not be there, which no prediction meets."""
    port_name = f"{call.service}:{call.port_name}" if call.port_name else call.service
    addresses = (word for address in call.addresses for word in (f"'{address}", f"{address}"))
    return any(word in repr(step.obj) for word in (f"{port_name} ", f'{port_name}"', *addresses))


def _of_service(step: Step) -> bool:
    """Whether it is part of one Service's rules."""
    return " of Service " in step.obj.label


def _dead(step: Step, differences: Plan) -> str:
    """That the kube-proxy whose rules differ does not run."""
    gone = (one for one in differences if isinstance(one.obj, KubeProxy) and one.obj.ns == step.obj.ns)
    dead = next(gone, None) if step.obj.by == "kube-proxy" and not isinstance(step.obj, Process) else None
    return f"; {trouble(dead)}" if dead else ""


def _mending(step: Step) -> str:
    """The command that repairs it, if it is short; else the call of `up`."""
    if isinstance(step.obj, Process):
        return f"; {up(step.obj)} mends it"
    line = command(step)
    return (
        f": {line}"
        if "\n" not in line and not isinstance(step, Replace) and len(line) < 160
        else f"; {up(step.obj)} mends it"
    )


def _layer(result: CallResult, lab: str, differences: Plan, evidence: Evidence, silent: Sequence[str]) -> Cause:
    call = result.call
    if "answered by" in result.wrong and (doubled := _doubled(differences, evidence)):
        return doubled
    ends = [evidence.end(trail) for trail in evidence.lost]
    if ends and (there := _nothing_listens(ends, evidence, {answer.pod for answer in call.answers})):
        return there
    seen = described(ends) if ends else ""
    for namespace in (netns(lab, name) for name in (*dict.fromkeys(end.host for end in ends), call.node)):
        if step := _beside(differences, namespace):
            return replace(differs(step, f"what differs on the way: {trouble(step)}{_mending(step)}"), seen=seen)
        if things := evidence.unmanaged.get(namespace):
            more = f" (and {len(things) - 1} more)" if len(things) > 1 else ""
            others = f"{host(namespace)} has something that is not the lab's: {things[0]}{more}"
            return Cause(f"{_right(call)}, but {others}", CauseKind.UNMANAGED, host(namespace), seen=seen)
    where = ends[0].host if ends else ""
    return Cause(_unexplained(result, evidence, silent, ends), host=where, seen=seen)


def _right(call: Call) -> str:
    return f"nothing of {call.node}'s rules differs"


def _unexplained(result: CallResult, evidence: Evidence, silent: Sequence[str], ends: Sequence[Ending]) -> str:
    """What is known of a call for which neither a difference nor anything unmanaged was found."""
    call, at = result.call, _right(result.call)
    if result.unresolved:
        return f"{call.source} asks the cluster's DNS for {call.name}, and {result.unresolved.removeprefix('DNS: ')}"
    if ends:
        return f"{at}{_who(silent, ends)}{_as_it_was(evidence)}"
    if evidence.trails:
        return f"{at}; {_now(evidence)}"
    if silent:
        return f"{at}; {few(silent)} {_says(result, len(silent))}"
    if call.outcome is not Outcome.REACHED:
        return f"{at}, and yet {call.way} {call.port} is {result.wrong}"
    if any(one.seen_from for one in result.tries) and "seen as" in result.wrong:
        return f"{at}, but something else translates {call.source}'s address"
    return f"{at}, and yet it is {result.wrong}"


def _beside(differences: Plan, namespace: str) -> Step | None:
    """What else of the lab's differs in a namespace where packets end: kube-proxy's rules were looked at before."""
    here = (step for step in differences if step.obj.ns == namespace and not isinstance(step.obj, Process))
    return next((step for step in here if step.obj.by != "kube-proxy" and not _of_service(step)), None)


def _doubled(differences: Plan, evidence: Evidence) -> Cause | None:
    """Who has an address that another host should have; None if nobody is known to."""
    for step in differences:
        match step:
            case Remove(Address(ns=ns, address=found)) if evidence.owner(found.ip) not in ("", host(ns)):
                return differs(step, f"{trouble(step)}, but {evidence.owner(found.ip)}'s{_mending(step)}")
    for address, hosts in evidence.owners.items():
        if len(hosts) > 1 and any(trail.drew == address for trail in evidence.trails):
            return Cause(f"{few(hosts)} have the same address {address}", CauseKind.SEEN, few(hosts))
    return None


def _nothing_listens(ends: Sequence[Ending], evidence: Evidence, pods: Collection[str]) -> Cause | None:
    """That an endpoint refuses: one of `pods`, or, if there are none, one outside the cluster."""
    for end, trail in zip(ends, evidence.lost, strict=True):
        translated = trail.drew != trail.question.address and (not pods or end.host in pods)
        if translated and end.refused and end.host == evidence.owner(trail.drew):
            sentence = f"packets arrive at {trail.drew} ({end.host}), where nothing listens on port {end.port}"
            return Cause(sentence, CauseKind.SEEN, end.host)
    return None


def _who(silent: Sequence[str], ends: Sequence[Ending]) -> str:
    if not silent or any(end.sent for end in ends):
        return ""
    return f"; {few(silent)} {'say' if len(silent) > 1 else 'says'} nothing"


def _as_it_was(evidence: Evidence) -> str:
    """That no rule has translated the address."""
    if all(trail.of(What.REQUEST) and trail.drew == trail.question.address for trail in evidence.lost):
        return f", and yet nothing translates {evidence.lost[0].drew}"
    return ""


def _now(evidence: Evidence) -> str:
    """That a repetition was answered, and what conntrack still has of earlier connections."""
    times = "repeated, it is answered" if len(evidence.trails) == 1 else f"repeated {len(evidence.trails)} times, it is"
    times += "" if len(evidence.trails) == 1 else " answered each time"
    if not evidence.flows:
        return times
    return f"{times}; conntrack still has earlier connections, {few(evidence.flows, 1)}"


def _says(result: CallResult, number: int) -> str:
    outcomes = {one.outcome for one in result.tries}
    words = (
        ("refuses", "refuse")
        if Outcome.REFUSED in outcomes
        else ("says nothing", "say nothing")
        if Outcome.TIMED_OUT in outcomes
        else ("ends the connection", "end the connection")
    )
    return words[number > 1]
