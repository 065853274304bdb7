"""Probe results for machines: JUnit's XML, which every CI reads, and plain JSON values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nslab.probes import Probe, Result


def junit(lab: str, results: Sequence[Result], explanations: Mapping[Probe, str]) -> str:
    """A test case for each probe; one that is wrong fails with its explanation."""
    wrong = sum(bool(result.wrong) for result in results)
    took = sum(result.ms for result in results) / 1000
    totals = {"tests": str(len(results)), "failures": str(wrong), "errors": "0", "time": f"{took:.3f}"}
    suites = ET.Element("testsuites", totals)
    suite = ET.SubElement(suites, "testsuite", {"name": f"nslab probe {lab}", **totals})
    for result in results:
        probe = result.probe
        must = "" if probe.expected == "reach" else " must fail"
        case = {"classname": f"{lab}.{probe.source}", "name": f"{probe}{must}", "time": f"{result.ms / 1000:.6f}"}
        element = ET.SubElement(suite, "testcase", case)
        if result.wrong:
            message = f"{result.wrong}: {result.detail}" if result.detail else result.wrong
            ET.SubElement(element, "failure", {"message": message}).text = explanations.get(probe, message)
    ET.indent(suites)
    return ET.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def to_json(results: Sequence[Result], explanations: Mapping[Probe, str]) -> list[dict[str, Any]]:
    """The results as plain values."""
    return [_values(result, explanations) for result in results]


def _values(result: Result, explanations: Mapping[Probe, str]) -> dict[str, Any]:
    probe = result.probe
    asked = {"from": probe.source, "to": probe.target, "address": str(probe.address), "kind": probe.kind.value}
    details = {
        "port": probe.port or None,
        "size": probe.size or None,
        "expected_source": probe.expected_source and str(probe.expected_source),
        "seen_from": result.seen_from and str(result.seen_from),
        "arrived_at": result.arrived_at or None,
        "detail": result.detail or None,
        "explanation": explanations.get(probe),
    }
    answer = {
        "expected": probe.expected.value,
        "outcome": result.outcome.value,
        "ok": not result.wrong,
        "wrong": result.wrong or None,
        "ms": result.ms,
    }
    return {**asked, **answer, **{name: value for name, value in details.items() if value is not None}}
