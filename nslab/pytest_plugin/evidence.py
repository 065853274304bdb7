"""The sections of a failed test's report on its lab: the drift from its desired state, nodes' rules, and packets."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from nslab.app.drift import drift_of
from nslab.linux.netns import Namespaces
from nslab.linux.observe.host import driver
from nslab.linux.rules import restore
from nslab.objects.names import netns, pod_host
from nslab.quote import fill, visible
from nslab.views.changes import changes, standing_still

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nslab.pytest_plugin.running import RunningLab

_MOST = 200
"""The most lines of a section."""
_OF_IPTABLES = {"filter", "nat", "mangle", "raw", "security"}
"""The nftables tables of iptables-nft, which iptables-save shows."""


def sections(lab: RunningLab) -> list[tuple[str, str]]:
    """Return title and text of each section. If one cannot be read from a broken lab, its text is the error."""
    found: list[tuple[str, str]] = []
    for what, look in (("nslab diff", _difference), ("rules of", _rules), ("packets of", _packets)):
        try:
            found += look(lab)
        except Exception as error:  # the report must show the test's own failure, whatever happened to its lab
            found.append((f"{what} {lab.name}", f"cannot be read: {type(error).__name__}: {error}"))
    return [(visible(title), visible(text)) for title, text in found]


def bounded(lines: Sequence[str]) -> str:
    """Join lines, truncated to the most lines of a section."""
    more = [f"… and {len(lines) - _MOST} more lines"] if len(lines) > _MOST else []
    return "\n".join([*lines[:_MOST], *more])


def how_to_enter(lab: RunningLab) -> str:
    """The commands that enter the hosts of a kept lab, and remove it."""
    desired = lab.desired
    pods = [pod_host(pod.namespace, pod.name) for pod in desired.pods if pod.namespace == "default"]
    machines = [*(node.name for node in desired.nodes), *(client.name for client in desired.clients)]
    hosts = [*machines, *(router.name for router in desired.routers), *pods]
    ways = (fill("  nslab shell {}", f"{lab.name}/{host}") for host in hosts)
    return "\n".join([*ways, fill("  nslab down {}", lab.name)])


def _difference(lab: RunningLab) -> Iterator[tuple[str, str]]:
    found = drift_of(lab.name)
    lines = [*changes(found.lab, found.plan), *standing_still(found.stopped)] or [f"{lab.name} is as it should be"]
    for ns, unmanaged in found.unmanaged.items():
        lines += [f"not nslab's, in {ns}:", *(f"  {line}" for line in unmanaged)]
    yield f"nslab diff {lab.name}", bounded([*lines, *(f"from the file: {warning}" for warning in lab.warnings)])


def _rules(lab: RunningLab) -> Iterator[tuple[str, str]]:
    """Yield the rules; nodes with the same rules share a section."""
    shown: dict[tuple[str, str], list[str]] = {}
    with Namespaces() as spaces:
        for node in lab.desired.nodes:
            spaces.enter(netns(lab.name, node.name))
            for title, lines in _shown():
                shown.setdefault((title, bounded(lines)), []).append(node.name)
    for (title, text), nodes in shown.items():
        yield f"{title} on {', '.join(nodes)}", text


def _packets(lab: RunningLab) -> Iterator[tuple[str, str]]:
    """Yield the path of each node's pcap file, and its first packets as tcpdump prints them."""
    for node, file in lab.packets.files():
        text = output("tcpdump", "-n", "-r", str(file)) or ["(tcpdump, which reads it, is not installed)"]
        yield f"packets on {node}", f"{file}\n{bounded(text)}"


def _shown() -> Iterator[tuple[str, list[str]]]:
    """Yield the rules in this thread's namespace, from each program that has any."""
    for program in ("iptables-save", "iptables-legacy-save"):
        if rules := [*_without_the_empty(output(program))]:
            yield f"rules of {program}", rules
            break  # nslab uses one variant of iptables only
    for line in output("nft", "list", "tables"):
        _, family, table = line.split()
        if table not in _OF_IPTABLES:
            yield f"nft list table {family} {table}", output("nft", "list", "table", family, table)
    if driver("ip_vs") and (balanced := output("ipvsadm", "-Sn")):
        yield "ipvsadm -Sn", balanced


def _without_the_empty(saved: list[str]) -> Iterator[str]:
    """Yield the rules, each table's after its name; leaves out chain lines and tables without rules."""
    table = ""
    for line in saved:
        if line.startswith("*"):
            table = line
        elif line.startswith("-"):
            if table:
                yield table
            table = ""
            yield line


def output(*command: str) -> list[str]:
    """The output lines of a program in this thread's namespace; none if it is not installed or fails."""
    environment = restore.environment(os.devnull)
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    except FileNotFoundError:
        return []
    return done.stdout.splitlines() if done.returncode == 0 else []
