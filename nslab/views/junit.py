"""Probe results for machines: JUnit XML, which every CI reads, and JSON values."""

from __future__ import annotations

from collections import Counter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nslab.probes import Call, CallResult, Probe, Result
    from nslab.probes.cause import Cause


def junit(
    lab: str,
    results: Sequence[Result],
    explanations: Mapping[Probe, Cause],
    calls: Sequence[CallResult] = (),
    reasons: Mapping[Call, Cause] = MappingProxyType({}),
) -> str:
    """JUnit XML with a test case for each probe and each call; a failed one contains its explanation."""
    wrong = sum(bool(result.wrong) for result in results) + sum(bool(result.wrong) for result in calls)
    took = (sum(result.ms for result in results) + sum(result.ms for result in calls)) / 1000
    total = len(results) + len(calls)
    totals = {"tests": str(total), "failures": str(wrong), "errors": "0", "time": f"{took:.3f}"}
    suites = ET.Element("testsuites", totals)
    suite = ET.SubElement(suites, "testsuite", {"name": f"nslab probe {lab}", **totals})
    for result in results:
        probe = result.probe
        must = "" if probe.expected == "reach" else " must fail"
        case = {"classname": f"{lab}.{probe.source}", "name": f"{probe}{must}", "time": f"{result.ms / 1000:.6f}"}
        element = ET.SubElement(suite, "testcase", case)
        if result.wrong:
            message = f"{result.wrong}: {result.detail}" if result.detail else result.wrong
            ET.SubElement(element, "failure", {"message": message}).text = str(explanations.get(probe, message))
    for called in calls:
        call = called.call
        must = "" if call.outcome == "reached" else f" must be {call.outcome}"
        case = {"classname": f"{lab}.{call.source}", "name": f"{call}{must}", "time": f"{called.ms / 1000:.6f}"}
        element = ET.SubElement(suite, "testcase", case)
        if called.wrong:
            ET.SubElement(element, "failure", {"message": called.wrong}).text = str(reasons.get(call, called.wrong))
    ET.indent(suites)
    return ET.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def to_json(results: Sequence[Result], explanations: Mapping[Probe, Cause]) -> list[dict[str, Any]]:
    """The results as plain values."""
    return [_values(result, explanations) for result in results]


def calls_to_json(calls: Sequence[CallResult], reasons: Mapping[Call, Cause]) -> list[dict[str, Any]]:
    """Calls to Services as plain values."""
    return [_call(result, reasons) for result in calls]


def _call(result: CallResult, reasons: Mapping[Call, Cause]) -> dict[str, Any]:
    call = result.call
    seen = sorted({str(one.seen_from) for one in result.tries if one.seen_from})
    values = {
        "from": call.source, "service": call.service, "port_name": call.port_name, "way": call.way.value,
        "name": call.name, "addresses": [str(address) for address in call.addresses], "port": call.port,
        "protocol": call.protocol, "times": call.times, "expected": call.outcome.value,
        "outcomes": dict(Counter(one.outcome.value for one in result.tries)), "ok": not result.wrong,
        "wrong": result.wrong or None, "answered": dict(Counter(result.answered)), "seen_from": seen, "ms": result.ms,
        "lost": call.lost or "", "explanation": str(reasons.get(call, "")),
    }  # fmt: skip
    return {name: value for name, value in values.items() if name == "wrong" or value not in ("", [], {})}


def _values(result: Result, explanations: Mapping[Probe, Cause]) -> dict[str, Any]:
    probe = result.probe
    question = {"from": probe.source, "to": probe.target, "address": str(probe.address), "kind": probe.kind.value}
    details = {
        "port": probe.port or None,
        "size": probe.size or None,
        "expected_source": probe.expected_source and str(probe.expected_source),
        "seen_from": result.seen_from and str(result.seen_from),
        "arrived_at": result.arrived_at or None,
        "denied_by": [*probe.denied.policies] if probe.denied else None,
        "detail": result.detail or None,
        "explanation": str(explanations[probe]) if probe in explanations else None,
    }
    answer = {
        "expected": probe.expected.value,
        "outcome": result.outcome.value,
        "ok": not result.wrong,
        "wrong": result.wrong or None,
        "ms": result.ms,
    }
    return {**question, **answer, **{name: value for name, value in details.items() if value is not None}}
