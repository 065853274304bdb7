"""Run CNI plugins inside a node as its container runtime would, and store their results (RUN/LAB/cni).

The plugins decide what they create. This module knows what ADD got, what it returned, and what CHECK reports.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

from nslab.cni.chain import Program, Wiring, adding, checking, deleting
from nslab.cni.config import NetworkConfig
from nslab.cni.result import AddResult, PluginError, made_of
from nslab.compiler.underlay import UPLINK
from nslab.dataclass import dataclass, replace
from nslab.errors import Missing, Refused, about
from nslab.lab.plugins import PLUGIN_PATHS, network_of
from nslab.linux.cni.node import NodeNamespaces
from nslab.linux.netns import path
from nslab.linux.places import write
from nslab.linux.rules.restore import program
from nslab.linux.timeouts import scaled
from nslab.objects.attachment import Attachment
from nslab.objects.names import host
from nslab.objects.plan import Add, Remove, Replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from nslab.cni.chain import Invocations
    from nslab.lab.types import Lab
    from nslab.objects.base import State
    from nslab.objects.plan import Step

ALL_SECONDS = scaled(30.0)
"""Timeout of DEL for all pods of a lab together, in `down`."""


@dataclass(frozen=True, slots=True)
class StoredAttachment:
    """A stored attachment and the plugins' result; None if ADD did not complete.

    `doubt`: the error of CHECK right after a successful ADD. A plugin whose CHECK always fails proves nothing
    (portmap 1.1.1 looks for IPv6 rules that ADD had no reason to make: containernetworking/plugins#819).
    """

    obj: Attachment
    result: dict[str, Any] | None
    doubt: str = ""

    @property
    def made(self) -> AddResult:
        """The parts of the result that nslab uses."""
        return made_of(self.result or {})


class Plugins:
    """Attaches and detaches pods. `iptables`: the variant whose rules this kernel accepts."""

    def __init__(self, run: Path, iptables: str = "iptables") -> None:
        self._run, self._iptables = run, iptables
        self._nodes: dict[str, NodeNamespaces] = {}

    def run(self, step: Step) -> None:
        """Run one step with an attachment, or raise Refused with the plugin's error."""
        match step:
            case Add(Attachment() as obj):
                self._add(obj)
            case Remove(Attachment() as obj):
                self._delete(obj)
            case Replace(Attachment() as old, Attachment() as obj):
                self._delete(old)
                self._add(obj)
            case _:
                raise TypeError(f"{step!r} is not a step of an attachment")

    def look(self, known: State, there: Mapping[str, Iterable[str]]) -> Iterator[Attachment]:
        """The stored attachments, each with its fault, if any. `there`: the interfaces of each namespace."""
        wanted = {obj.key: obj for obj in known if isinstance(obj, Attachment)}
        for kept in self.kept():
            obj = kept.obj
            # An attachment that will be replaced anyway needs no CHECK.
            yield replace(obj, fault=self._fault(kept, there)) if obj == wanted.get(obj.key) else obj

    def interfaces(self) -> dict[str, set[str]]:
        """The interfaces in the plugins' results, by namespace."""
        found: dict[str, set[str]] = {}
        for kept in self.kept():
            found.setdefault(kept.obj.ns, set()).add(kept.obj.wiring.ifname)
            for name, sandbox in kept.made.interfaces:
                found.setdefault(os.path.basename(sandbox) or kept.obj.node, set()).add(name)
        return found

    def kept(self) -> list[StoredAttachment]:
        """All stored attachments."""
        return [kept for file in sorted((self._run / "cni").glob("*.json")) if (kept := _kept(file))]

    def release(self) -> list[str]:
        """Run DEL for all stored attachments, as far as possible; return the errors."""
        deadline, answers = time.monotonic() + ALL_SECONDS, []
        for kept in self.kept():
            if time.monotonic() > deadline:
                answers.append(f"DEL of CNI plugins took longer than {ALL_SECONDS:g} s; the other pods were skipped")
                break
            try:
                self._delete(kept.obj)
            except (Refused, OSError) as refusal:
                answers.append(str(refusal))
        return answers

    def _add(self, obj: Attachment) -> None:
        # Stored before ADD: if this process is killed, DEL is still due.
        self._keep(obj, None)
        try:
            result = self._drive(adding(obj.wiring, obj.address), obj)
        except PluginError as error:
            self._file(obj).unlink(missing_ok=True)
            raise _refused("ADD", obj, error) from None
        made = made_of(result)
        assert made.address
        obj = replace(obj, address=made.address.ip)
        self._keep(obj, result)
        if doubt := self._check(obj, result):
            self._keep(obj, result, doubt)

    def _delete(self, obj: Attachment) -> None:
        if not path(obj.node).exists():
            self._file(obj).unlink(missing_ok=True)  # the node is gone, with everything in it
            return
        kept = _kept(self._file(obj))
        try:
            self._drive(deleting(obj.wiring, obj.address, kept.result if kept else None), obj)
        except PluginError as error:
            raise _refused("DEL", obj, error) from None
        with contextlib.suppress(OSError):
            self._node(obj).forget(obj.ns)
        self._file(obj).unlink(missing_ok=True)
        if kept:
            self._sweep(kept)

    def _sweep(self, gone: StoredAttachment) -> None:
        """Remove an attachment's interfaces on the node that no other attachment uses: a bridge outlives its last port.

        The plugin cannot know which DEL is the last; but a later network must not meet a second bridge with the same
        gateway address.
        """
        others = {
            (kept.obj.node, name) for kept in self.kept() for name, sandbox in kept.made.interfaces if not sandbox
        }
        for name, sandbox in gone.made.interfaces:
            if not sandbox and (gone.obj.node, name) not in others and name != UPLINK:
                argv = [program("ip"), "-n", gone.obj.node, "link", "del", name]
                subprocess.run(argv, capture_output=True, check=False)

    def _fault(self, kept: StoredAttachment, there: Mapping[str, Iterable[str]]) -> str:
        obj = kept.obj
        if kept.result is None:
            return "ADD was cut short"
        if obj.ns not in there or obj.node not in there:
            return "its namespace is gone"
        if obj.wiring.ifname not in there[obj.ns]:
            return f"there is no {obj.wiring.ifname}"
        failure = self._check(obj, kept.result)
        return f"CHECK: {failure}" if failure and failure != kept.doubt else ""

    def _check(self, obj: Attachment, result: dict[str, Any]) -> str:
        """The error of CHECK, or ""."""
        try:
            self._drive(checking(obj.wiring, obj.address, result), obj)
        except PluginError as error:
            return str(error)
        return ""

    def _drive(self, invocations: Invocations, obj: Attachment) -> dict[str, Any]:
        """Run the invocations, each with the answer to the one before, and return the result."""
        node = self._node(obj)
        try:
            invocation = next(invocations)
            while True:
                invocation = invocations.send(node.execute(invocation, obj.ns))
        except StopIteration as end:
            result: dict[str, Any] = end.value
            return result

    def _node(self, obj: Attachment) -> NodeNamespaces:
        if obj.node not in self._nodes:
            self._nodes[obj.node] = NodeNamespaces(obj.node, self._run, self._iptables)
        return self._nodes[obj.node]

    def _keep(self, obj: Attachment, result: dict[str, Any] | None, doubt: str = "") -> None:
        from dataclasses import asdict

        text = {
            "ns": obj.ns,
            "node": obj.node,
            "address": str(obj.address),
            "wiring": asdict(obj.wiring),
            "result": result,
            "doubt": doubt,
        }
        file = self._file(obj)
        file.parent.mkdir(exist_ok=True)
        with about(file):
            write(file, json.dumps(text, indent=1))

    def _file(self, obj: Attachment) -> Path:
        return self._run / "cni" / f"{obj.ns.rpartition('.')[2]}.json"


def _kept(file: Path) -> StoredAttachment | None:
    """Read a stored attachment; None if the file does not exist or was changed by hand."""
    try:
        return _read(file)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _read(file: Path) -> StoredAttachment:
    answers = json.loads(file.read_text())
    wiring = answers["wiring"]
    network = wiring.pop("network")
    made = Wiring(
        network=NetworkConfig(**{**network, "plugins": tuple(network["plugins"])}),
        programs=tuple(Program(*program) for program in wiring.pop("programs")),
        path=tuple(wiring.pop("path")),
        **wiring,
    )
    obj = Attachment(answers["ns"], answers["node"], made, IPv4Address(answers["address"]))
    return StoredAttachment(obj, answers["result"], answers["doubt"])


def _refused(command: str, obj: Attachment, error: PluginError) -> Refused:
    pod, node = obj.host, host(obj.node)
    return Refused(f"CNI {command} of network {obj.wiring.network.name} for {pod} on {node}", str(error))


def find_programs(lab: Lab) -> tuple[tuple[str, Program], ...]:
    """The plugins that a lab names, on this machine's disk; Missing names all that are not installed."""
    if lab.cni is None:
        return ()
    types = dict.fromkeys(name for node in lab.nodes for name in network_of(lab, node).programs)
    folders = (*lab.cni.path, *PLUGIN_PATHS)
    found = {name: _program(name, folders) for name in types}
    if missing := [name for name, there in found.items() if there is None]:
        raise Missing(
            f"no CNI plugin {', '.join(missing)} in {', '.join(folders)}; those of the CNI project: on Debian and "
            "Ubuntu, apt install containernetworking-plugins; your own: name their directory (--plugin, cni.path)"
        )
    return tuple((name, there) for name, there in found.items() if there)


def _program(name: str, folders: Sequence[str]) -> Program | None:
    for folder in folders:
        file = f"{folder}/{name}"
        with contextlib.suppress(OSError):
            status = os.stat(file)
            if os.path.isfile(file) and os.access(file, os.X_OK):
                # A rebuilt plugin counts as another one: its attachments are made again.
                return Program(file, f"{status.st_mtime_ns:x}-{status.st_size:x}")
    return None
