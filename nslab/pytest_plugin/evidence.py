"""What a failed test's report says of its lab: its drift, the rules that differ, and the last packets.

The report is short, for people; the folder that it names has everything whole.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from nslab.app.drift import drift_of
from nslab.compiler.addresses import address_of
from nslab.compiler.pods import workload
from nslab.linux.netns import Namespaces
from nslab.linux.observe.host import driver
from nslab.linux.rules import restore
from nslab.objects.names import netns, pod_host
from nslab.pytest_plugin.noise import without_noise
from nslab.quote import fill, visible
from nslab.views.changes import changes, standing_still
from nslab.views.rules import differing_rules

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nslab.lab.types import Lab
    from nslab.pytest_plugin.capture import Heard
    from nslab.pytest_plugin.noise import Endpoint
    from nslab.pytest_plugin.running import RunningLab

MOST = 8
"""Lines of a section; a report is read by people."""
PACKETS, PACKETS_OF_ALL = 20, 40
"""The packets of a node, and of all nodes together."""
DIFF, RULES = "diff.txt", "rules.txt"
_OF_IPTABLES = {"filter", "nat", "mangle", "raw", "security"}
"""Tables that iptables-nft keeps in nftables, and iptables-save shows."""


def sections(lab: RunningLab) -> list[tuple[str, str]]:
    """Title and text of each. What cannot be learnt of a broken lab is said in the place of it."""
    folder = Path(tempfile.mkdtemp(prefix=f"nslab-{lab.name}-"))
    found: list[tuple[str, str]] = []
    for what, look in (("nslab diff", _difference), ("rules of", _rules), ("packets of", _packets)):
        try:
            found += look(lab, folder)
        except Exception as error:  # the test's own failure must be told, whatever became of its lab
            found.append((f"{what} {lab.name}", f"cannot be told: {type(error).__name__}: {error}"))
    files = sorted(file.name for file in folder.iterdir())
    found.append(("whole, in files", f"{folder}: {', '.join(files) or 'nothing could be learnt'}"))
    return [(visible(title), visible(text)) for title, text in found]


def bounded(lines: Sequence[str]) -> str:
    """The beginning of what is long; the file has the rest."""
    more = [f"… and {len(lines) - MOST} more lines in {DIFF}"] if len(lines) > MOST else []
    return "\n".join([*lines[:MOST], *more])


def how_to_enter(lab: RunningLab) -> str:
    """The commands for somebody who wants to look around in a lab that is kept."""
    desired = lab.desired
    pods = [pod_host(pod.namespace, pod.name) for pod in desired.pods if pod.namespace == "default"]
    machines = [*(node.name for node in desired.nodes), *(client.name for client in desired.clients)]
    hosts = [*machines, *(router.name for router in desired.routers), *pods]
    ways = (fill("  nslab shell {}", f"{lab.name}/{host}") for host in hosts)
    return "\n".join([*ways, fill("  nslab down {}", lab.name)])


def _difference(lab: RunningLab, folder: Path) -> Iterator[tuple[str, str]]:
    """What `nslab diff` has, and the rules that differ, if any do."""
    found = drift_of(lab.name)
    lines = [*changes(found.lab, found.plan), *standing_still(found.stopped)] or [f"{lab.name} is as it should be"]
    for ns, strange in found.unmanaged.items():
        lines += [f"not nslab's, in {ns}:", *(f"  {line}" for line in strange)]
    lines += (f"from the file: {warning}" for warning in lab.warnings)
    rules = [f"{node}: {line}" for node, those in differing_rules(found.plan).items() for line in those]
    _write(folder / DIFF, [*lines, *rules])
    yield f"nslab diff {lab.name}", bounded(lines)
    if rules:
        yield "rules that differ (- missing, + extra)", bounded(rules)


def _rules(lab: RunningLab, folder: Path) -> Iterator[tuple[str, str]]:
    """Those of all nodes are in a file only."""
    lines: list[str] = []
    with Namespaces() as spaces:
        for node in lab.desired.nodes:
            spaces.enter(netns(lab.name, node.name))
            for title, rules in _shown():
                lines += [f"# {node.name}: {title}", *rules, ""]
    _write(folder / RULES, lines)
    yield from ()


def _packets(lab: RunningLab, folder: Path) -> Iterator[tuple[str, str]]:
    """The last ones of each node, as tcpdump prints them; a file for Wireshark has all."""
    desired = lab.desired
    most = min(PACKETS, PACKETS_OF_ALL // (len(desired.nodes) + len(desired.routers)))
    for heard in lab.packets.heard():
        file = folder / f"{heard.node}.pcap"
        file.write_bytes(heard.pcap(heard.packets))
        if section := _last_packets(heard, probed(desired, heard.node), max(most, 1)):
            yield section


def _last_packets(heard: Heard, asked: frozenset[Endpoint], most: int) -> tuple[str, str] | None:
    """Title and text of a node's section; None if it heard nothing of interest."""
    interesting = without_noise(heard.packets, asked)
    last = heard.pcap(interesting[-most:])
    text = output("tcpdump", "-n", "-r", "-", given=last) or ["(tcpdump, which prints them, is not installed)"]
    which = f"the last {most} of {len(interesting)}" if len(interesting) > most else f"{len(interesting)}"
    hidden = len(heard.packets) - len(interesting)
    also = f"; {hidden} of health probes and IPv6 discovery are in the file" if hidden else ""
    return (f"packets on {heard.node}: {which}{also}", "\n".join(text)) if interesting else None


def probed(lab: Lab, node: str) -> frozenset[Endpoint]:
    """Where a node's kubelet asks whether containers are well."""
    found = set()
    for pod in (pod for pod in lab.pods if pod.node == node and pod.assigned):
        for one in (workload(lab, pod, container) for container in pod.containers):
            checks = (check.port for check in (one.readiness, one.liveness) if check)
            found |= {(str(address_of(pod)), int(port)) for port in (one.port, *checks) if port}
    return frozenset(found)


def _write(file: Path, lines: Sequence[str]) -> None:
    file.write_text(visible("\n".join([*lines, ""])), encoding="utf-8")


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


def output(*command: str, given: bytes = b"") -> list[str]:
    """What a program says in this thread's namespace, a line each; nothing if it is not there, or cannot."""
    environment = restore.environment(os.devnull)
    try:
        done = subprocess.run(command, input=given, capture_output=True, env=environment, check=False)
    except FileNotFoundError:
        return []
    return done.stdout.decode(errors="replace").splitlines() if done.returncode == 0 else []
