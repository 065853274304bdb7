"""What a failed test's report says of its lab: the difference from its wish, each node's rules, and its packets."""

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
"""Lines of a section; a report is read by people."""
_OF_IPTABLES = {"filter", "nat", "mangle", "raw", "security"}
"""Tables that iptables-nft keeps in nftables, and iptables-save shows."""


def sections(lab: RunningLab) -> list[tuple[str, str]]:
    """Title and text of each. What cannot be learnt of a broken lab is said in the place of it."""
    found: list[tuple[str, str]] = []
    for what, look in (("nslab diff", _difference), ("rules of", _rules), ("packets of", _packets)):
        try:
            found += look(lab)
        except Exception as error:  # the test's own failure must be told, whatever became of its lab
            found.append((f"{what} {lab.name}", f"cannot be told: {type(error).__name__}: {error}"))
    return [(visible(title), visible(text)) for title, text in found]


def bounded(lines: Sequence[str]) -> str:
    """The beginning of what is long."""
    more = [f"… and {len(lines) - _MOST} more lines"] if len(lines) > _MOST else []
    return "\n".join([*lines[:_MOST], *more])


def how_to_enter(lab: RunningLab) -> str:
    """The commands for somebody who wants to look around in a lab that is kept."""
    desired = lab.desired
    pods = [pod_host(pod.namespace, pod.name) for pod in desired.pods if pod.namespace == "default"]
    machines = [*(node.name for node in desired.nodes), *(client.name for client in desired.clients)]
    hosts = [*machines, *(router.name for router in desired.routers), *pods]
    ways = (fill("  nslab shell {}", f"{lab.name}/{host}") for host in hosts)
    return "\n".join([*ways, fill("  nslab down {}", lab.name)])


def _difference(lab: RunningLab) -> Iterator[tuple[str, str]]:
    found = drift_of(lab.name)
    lines = [*changes(found.lab, found.plan), *standing_still(found.stopped)] or [f"{lab.name} is as it should be"]
    for ns, strange in found.unmanaged.items():
        lines += [f"not nslab's, in {ns}:", *(f"  {line}" for line in strange)]
    yield f"nslab diff {lab.name}", bounded([*lines, *(f"from the file: {warning}" for warning in lab.warnings)])


def _rules(lab: RunningLab) -> Iterator[tuple[str, str]]:
    """Nodes that have the same rules share a section."""
    shown: dict[tuple[str, str], list[str]] = {}
    with Namespaces() as spaces:
        for node in lab.desired.nodes:
            spaces.enter(netns(lab.name, node.name))
            for title, lines in _shown():
                shown.setdefault((title, bounded(lines)), []).append(node.name)
    for (title, text), nodes in shown.items():
        yield f"{title} on {', '.join(nodes)}", text


def _packets(lab: RunningLab) -> Iterator[tuple[str, str]]:
    """The files say it all, for Wireshark; here is how they begin."""
    for node, file in lab.packets.files():
        text = output("tcpdump", "-n", "-r", str(file)) or ["(tcpdump, which reads it, is not installed)"]
        yield f"packets on {node}", f"{file}\n{bounded(text)}"


def _shown() -> Iterator[tuple[str, list[str]]]:
    """The rules in this thread's namespace, by each program that has any to show."""
    for program in ("iptables-save", "iptables-legacy-save"):
        if rules := [*_without_the_empty(output(program))]:
            yield f"rules of {program}", rules
            break  # the other one has rules of another kind, of which nslab never uses two
    for line in output("nft", "list", "tables"):
        _, family, table = line.split()
        if table not in _OF_IPTABLES:
            yield f"nft list table {family} {table}", output("nft", "list", "table", family, table)
    if driver("ip_vs") and (balanced := output("ipvsadm", "-Sn")):
        yield "ipvsadm -Sn", balanced


def _without_the_empty(saved: list[str]) -> Iterator[str]:
    """The rules, each table's behind its name; neither chains without rules nor tables without any."""
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
    """What a program says in this thread's namespace, a line each; nothing if it is not there, or cannot."""
    environment = restore.environment(os.devnull)
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    except FileNotFoundError:
        return []
    return done.stdout.splitlines() if done.returncode == 0 else []
