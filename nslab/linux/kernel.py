"""The only way to change the kernel: runs transactions and raises refusals."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, assert_never

from nslab.errors import Refused, error_text
from nslab.linux.netlink import batch as netlink
from nslab.linux.netlink import tun
from nslab.linux.rules import restore
from nslab.objects import script as shell
from nslab.objects import sysctl
from nslab.objects.base import Add, Remove
from nslab.objects.ipset import ipset_restore
from nslab.objects.iptables import iptables_restore
from nslab.objects.ipvs import ipvsadm_restore
from nslab.objects.netlink import Netlink
from nslab.objects.nft_commands import nft_restore
from nslab.ruletext.iptables import block

if TYPE_CHECKING:
    from collections.abc import Callable

    from nslab.linux.cni.plugins import Plugins
    from nslab.linux.netns import Namespaces
    from nslab.linux.processes.agents import Agents
    from nslab.objects.base import Step
    from nslab.objects.netlink import Messages
    from nslab.objects.plan import Transaction


class LinuxKernel:
    """Runs transactions, each in its namespace, from one thread (all namespaces share the kernel's RTNL lock)."""

    def __init__(self, spaces: Namespaces, agents: Agents, iptables: str, plugins: Plugins | None = None) -> None:
        self._spaces = spaces
        self._plugins = plugins
        self._agents = agents
        self._iptables = iptables
        self._indexes = netlink.LinuxIndexes(spaces)
        self._coming_up: list[tuple[str, str]] = []

    def run(self, transaction: Transaction) -> None:
        """Run one transaction, or raise Refused with the step, the kernel's error, and the steps that were done."""
        try:
            self._run(transaction)
        except OSError as error:  # the namespace does not exist
            raise Refused(shell.command(transaction.steps[0]), os.strerror(error.errno or 0)) from error

    def _run(self, transaction: Transaction) -> None:
        match transaction.unit:
            case "netns":
                self._one_by_one(transaction, self._netns)
            case "netlink":
                self._netlink(transaction)
            case "tun":
                self._one_by_one(transaction, self._tun)
            case "sysctl":
                self._spaces.enter(transaction.where[0])
                self._one_by_one(transaction, _sysctl)
            case "ipset":
                self._spaces.enter(transaction.where[0])
                restore.ipset(ipset_restore(transaction.steps), transaction.steps)
            case "iptables":
                self._spaces.enter(transaction.where[0])
                program = os.path.realpath(restore.program(f"{self._iptables}-restore"))
                text = iptables_restore(transaction.steps, block(program))
                restore.iptables(self._iptables, text, transaction.steps)
            case "ipvs":
                self._spaces.enter(transaction.where[0])
                restore.ipvsadm(ipvsadm_restore(transaction.steps), transaction.steps)
            case "nft":
                self._spaces.enter(transaction.where[0])
                restore.nft(nft_restore(transaction.steps), transaction.steps)
            case "cni":
                self._spaces.home()
                self._one_by_one(transaction, self._attach)
            case "process":
                self._spaces.home()
                self._agents.run(transaction.steps)
            case missing:
                assert_never(missing)

    def wait_until_up(self) -> None:
        """Return when every interface that was set up can carry packets."""
        for ns, dev in self._coming_up:
            netlink.wait_until_up(self._spaces.route_socket(ns), [self._indexes.index(ns, dev)])
        self._coming_up.clear()

    def _one_by_one(self, transaction: Transaction, do: Callable[[Step], None]) -> None:
        for position, step in enumerate(transaction.steps):
            try:
                do(step)
            except OSError as error:
                raise Refused(shell.command(step), error_text(error), transaction.steps[:position]) from error

    def _netns(self, step: Step) -> None:
        if isinstance(step, Remove):
            self._indexes.forget(step.obj.ns)
            self._spaces.remove(step.obj.ns)
        else:
            self._spaces.create(step.obj.ns)

    def _attach(self, step: Step) -> None:
        assert self._plugins
        self._plugins.run(step)
        for ns in step.obj.where:
            self._indexes.forget(ns)

    def _tun(self, step: Step) -> None:
        self._indexes.forget(step.obj.ns)
        self._spaces.enter(step.obj.ns)
        tun.run(step)

    def _netlink(self, transaction: Transaction) -> None:
        """Send the messages of all steps, in order; consecutive messages to one namespace form one batch."""
        refused: list[tuple[Step, OSError]] = []
        batch: list[tuple[Step, bytes]] = []
        ns = transaction.where[0]
        for step in transaction.steps:
            try:
                encoded = _encode(step, self._indexes)
            except OSError as error:
                refused.append((step, error))
                continue
            for where, raw in encoded:
                if where != ns:
                    refused += self._flush(ns, batch)
                    ns, batch = where, []
                batch.append((step, raw))
        refused += self._flush(ns, batch)
        refused = [(step, error) for step, error in refused if not _came_anyway(step, error)]
        self._remember(transaction)
        if refused:
            for touched in {ns for step in transaction.steps for ns in _namespaces(step)}:
                self._indexes.forget(touched)
            first, reason = refused[0]
            refused_ids = {id(step) for step, _ in refused}
            done = [step for step in transaction.steps if id(step) not in refused_ids]
            raise Refused(shell.command(first), error_text(reason), done) from reason

    def _flush(self, ns: str, batch: list[tuple[Step, bytes]]) -> list[tuple[Step, OSError]]:
        refusals = netlink.send(self._spaces.route_socket(ns), [raw for _, raw in batch]) if batch else []
        return [(batch[refusal.position][0], refusal) for refusal in refusals]

    def _remember(self, transaction: Transaction) -> None:
        for step in transaction.steps:
            if isinstance(step, Remove):
                for ns in _namespaces(step):
                    self._indexes.forget(ns)
            elif isinstance(step, Add) and step.obj.sets_up:
                self._coming_up.append((step.obj.ns, step.obj.sets_up))


def _came_anyway(step: Step, error: OSError) -> bool:
    """Whether what a step was to do is done although the kernel refused it."""
    if isinstance(step, Remove):
        return step.obj.may_be_gone
    return isinstance(step, Add) and step.obj.may_be_there and error.errno == errno.EEXIST


def _namespaces(step: Step) -> set[str]:
    """The namespaces in which a step creates or removes interfaces: a veth pair has two ends."""
    return {step.obj.ns, *(key[1] for key in step.obj.provides)}


def _encode(step: Step, indexes: netlink.LinuxIndexes) -> Messages:
    assert isinstance(step.obj, Netlink)
    return step.obj.messages(step, indexes)


def _sysctl(step: Step) -> None:
    """Write one setting: /proc/sys/net shows those of the namespace of the thread that opens it."""
    path, value = sysctl.written(step.obj)
    descriptor = os.open(f"/proc/sys/{path}", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)
