"""The sections of a failed test's report on its lab: its drift, the rules that differ, and the last packets.

The report is short; the folder that it names has the whole drift, all rules and all packets.
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
    from nslab.pytest_plugin.capture import Captured
    from nslab.pytest_plugin.noise import Endpoint
    from nslab.pytest_plugin.running import RunningLab

MOST = 8
"""The most lines of a section."""
PACKETS, PACKETS_OF_ALL = 20, 40
"""The most packets of a node, and of all nodes together."""
DIFF, RULES = "diff.txt", "rules.txt"
_OF_IPTABLES = {"filter", "nat", "mangle", "raw", "security"}
"""The nftables tables of iptables-nft, which iptables-save shows."""


def sections(lab: RunningLab) -> list[tuple[str, str]]:
    """Return title and text of each section. If one cannot be read from a broken lab, its text is the error."""
    folder = Path(tempfile.mkdtemp(prefix=f"nslab-{lab.name}-"))
    found: list[tuple[str, str]] = []
    for what, look in (("nslab diff", _difference), ("rules of", _rules), ("packets of", _packets)):
        try:
            found += look(lab, folder)
        except Exception as error:  # the report must show the test's own failure, whatever happened to its lab
            found.append((f"{what} {lab.name}", f"cannot be read: {type(error).__name__}: {error}"))
    files = sorted(file.name for file in folder.iterdir())
    found.append(("whole, in files", f"{folder}: {', '.join(files) or 'nothing could be read'}"))
    return [(visible(title), visible(text)) for title, text in found]


def bounded(lines: Sequence[str]) -> str:
    """Join lines, truncated to the most lines of a section; the file has all."""
    more = [f"… and {len(lines) - MOST} more lines in {DIFF}"] if len(lines) > MOST else []
    return "\n".join([*lines[:MOST], *more])


def how_to_enter(lab: RunningLab) -> str:
    """The commands that enter the hosts of a kept lab, and remove it."""
    desired = lab.desired
    pods = [pod_host(pod.namespace, pod.name) for pod in desired.pods if pod.namespace == "default"]
    machines = [*(node.name for node in desired.nodes), *(client.name for client in desired.clients)]
    hosts = [*machines, *(router.name for router in desired.routers), *pods]
    ways = (fill("  nslab shell {}", f"{lab.name}/{host}") for host in hosts)
    return "\n".join([*ways, fill("  nslab down {}", lab.name)])


def _difference(lab: RunningLab, folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the output of `nslab diff`, and the rules that differ, if any do."""
    found = drift_of(lab.name)
    lines = [*changes(found.lab, found.plan), *standing_still(found.stopped, found.ended, idle=found.idle)]
    lines = lines or [f"{lab.name} is as it should be"]
    for ns, unmanaged in found.unmanaged.items():
        lines += [f"not nslab's, in {ns}:", *(f"  {line}" for line in unmanaged)]
    lines += (f"from the file: {warning}" for warning in lab.warnings)
    rules = [f"{node}: {line}" for node, those in differing_rules(found.plan).items() for line in those]
    _write(folder / DIFF, [*lines, *rules])
    yield f"nslab diff {lab.name}", bounded(lines)
    if rules:
        yield "rules that differ (- missing, + extra)", bounded(rules)


def _rules(lab: RunningLab, folder: Path) -> Iterator[tuple[str, str]]:
    """Write the rules of all nodes into a file."""
    lines: list[str] = []
    with Namespaces() as spaces:
        for node in lab.desired.nodes:
            spaces.enter(netns(lab.name, node.name))
            for title, rules in _shown():
                lines += [f"# {node.name}: {title}", *rules, ""]
    _write(folder / RULES, lines)
    yield from ()


def _packets(lab: RunningLab, folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the last packets of each node, as tcpdump prints them; write all into a pcap file."""
    desired = lab.desired
    most = min(PACKETS, PACKETS_OF_ALL // (len(desired.nodes) + len(desired.routers)))
    for captured in lab.packets.captured():
        file = folder / f"{captured.node}.pcap"
        file.write_bytes(captured.pcap(captured.packets))
        if section := _last_packets(captured, probed(desired, captured.node), max(most, 1)):
            yield section


def _last_packets(captured: Captured, asked: frozenset[Endpoint], most: int) -> tuple[str, str] | None:
    """Title and text of a node's section; None if it has only noise."""
    interesting = without_noise(captured.packets, asked)
    if not interesting:
        return None
    last = captured.pcap(interesting[-most:])
    text = output("tcpdump", "-n", "-r", "-", given=last) or ["(tcpdump, which prints them, is not installed)"]
    which = f"the last {most} of {len(interesting)}" if len(interesting) > most else f"{len(interesting)}"
    hidden = len(captured.packets) - len(interesting)
    also = f"; {hidden} of health probes and IPv6 discovery are in the file" if hidden else ""
    return f"packets on {captured.node}: {which}{also}", "\n".join(text)


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


def output(*command: str, given: bytes = b"") -> list[str]:
    """The output lines of a program in this thread's namespace; none if it is not installed or fails."""
    environment = restore.environment(os.devnull)
    try:
        done = subprocess.run(command, input=given, capture_output=True, env=environment, check=False)
    except FileNotFoundError:
        return []
    return done.stdout.decode(errors="replace").splitlines() if done.returncode == 0 else []
