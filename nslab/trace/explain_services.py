"""Explains a failed call to a Service by a missing object, or else by the layer at fault (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.objects.names import host, netns
from nslab.objects.plan import Replace
from nslab.objects.process import KubeProxy, Process
from nslab.objects.script import command
from nslab.probes import Outcome, Way
from nslab.trace.words import trouble, up

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nslab.objects.plan import Plan, Step
    from nslab.probes import CallResult

DNS_HOST = "kube-system_kube-dns"


def explain_call(result: CallResult, lab: str, differences: Plan, pairs: Mapping[tuple[str, str], str]) -> str:
    """One sentence. `differences`: the plan of `up`; `pairs`: explanations of failed probes, by source and target."""
    call = result.call
    for answer in result.silent:
        if reason := pairs.get((call.source, answer.pod)) or pairs.get((call.node, answer.pod)):
            return f"{answer.pod} is not reached by its own address either: {reason}"
    if step := next(_suspects(result, lab, differences), None):
        return f"{trouble(step)}{_mending(step)}"
    return _layer(result)


def _suspects(result: CallResult, lab: str, differences: Plan) -> Iterator[Step]:
    """Steps that would repair an object on the path, with those of this Service first."""
    call, node = result.call, netns(lab, result.call.node)
    port_name = f"{call.service}:{call.port_name}" if call.port_name else call.service
    about = (
        f"{port_name} ",
        f'{port_name}"',
        *(f"'{address}" for address in call.addresses),
        *map(str, call.addresses),
    )
    if result.unresolved:
        yield from (step for step in differences if step.obj.ns == netns(lab, DNS_HOST))
    translating = [step for step in differences if step.obj.ns == node and step.obj.by == "kube-proxy"]
    yield from (step for step in translating if any(word in repr(step.obj) for word in about))
    yield from (step for step in translating if isinstance(step.obj, KubeProxy))
    yield from translating
    behind = {netns(lab, answer.pod) for answer in result.silent}
    yield from (step for step in differences if step.obj.ns in behind)


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


def _layer(result: CallResult) -> str:
    call = result.call
    at = f"nothing of {call.node}'s rules differs"
    if result.unresolved:
        return f"{call.source} asks the cluster's DNS for {call.name}, and {result.unresolved.removeprefix('DNS: ')}"
    outcomes = {one.outcome for one in result.tries}
    if result.silent:
        names = ", ".join(answer.pod for answer in result.silent[:3])
        what = "refuses" if Outcome.REFUSED in outcomes else "says nothing" if Outcome.TIMED_OUT in outcomes else "ends"
        return f"{at}, so it is behind them: {names} {what}; is its server there, and its node's way back?"
    if call.outcome is not Outcome.REACHED:
        return f"{at}, and yet {call.way} {call.port} is {result.wrong}"
    if any(one.seen_from for one in result.tries) and "seen as" in result.wrong:
        return f"{at}, but something else translates {call.source}'s address"
    layer = "kube-dns" if call.way is Way.NAME and not result.tries else "kube-proxy"
    return f"{at}: {result.wrong} is {layer}'s own doing ({host(netns('', call.node))})"
