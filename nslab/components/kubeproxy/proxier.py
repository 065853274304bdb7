"""The proxier: gets changes of Services and runs programs that write the differences.

The first sync, and each sync after a failure, writes all rules over those that exist; other syncs write differences. A
Service that the kernel refuses does not hold up the others: kube-proxy leaves it out, reports it, and retries it later.
Rules that `up` wrote during its start are taken over unread: a rule broken by hand meanwhile stays broken.
"""

from __future__ import annotations

import gc
import sys
import time
from typing import TYPE_CHECKING

from nslab.components.kubeproxy.graceful_termination import AGAIN, LIST, GracefulTermination
from nslab.components.kubeproxy.healthports import HealthPorts
from nslab.components.kubeproxy.own_addresses import local
from nslab.components.runtime.programs import Programs
from nslab.dataclass import replace
from nslab.proxy import conntrack
from nslab.proxy.found import found, leftovers, looks
from nslab.proxy.model import service_from_json, visible
from nslab.proxy.modes import mode
from nslab.proxy.sync import Sync

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from typing import Any, TypeAlias

    from nslab.components.kubeproxy.balancer import Balancer
    from nslab.components.runtime.asyncloop import AsyncLoop
    from nslab.components.runtime.control_client import ControlConnection
    from nslab.components.runtime.loop import Watches
    from nslab.components.runtime.programs import Ran
    from nslab.proxy.model import Proxy, ServiceInfo
    from nslab.ruletext.items import Items, NodeCommand

    Changed: TypeAlias = dict[str, ServiceInfo | None]
    Doing: TypeAlias = Generator[Changed | Sequence[NodeCommand], list[Ran], None]

SOONEST, LATEST = 0.5, 30.0
"""Seconds after a failure before a full sync, at first and at most."""


class Proxier:
    """The proxier of one node. It runs one sync at a time; changes during a sync go into the next one.

    `proxy.addresses`: those that the node may have.
    """

    def __init__(self, loop: Watches, line: ControlConnection, proxy: Proxy, asyncio: AsyncLoop | None = None) -> None:
        self._loop, self._line, self._asyncio = loop, line, asyncio
        self._mode, self._addresses = mode(proxy.mode), proxy.addresses
        self._proxy = replace(proxy, addresses=local(self._addresses))
        self._sync = Sync(self._mode, self._proxy)
        self._services: dict[str, ServiceInfo] = {}
        self._pending: Changed = {}
        self._generation, self._due, self._busy = 0, False, False
        self._look_due = self._looks = False
        self._full, self._wait = True, SOONEST
        self._refused: dict[str, str] = {}
        self._again = False
        self._written = False
        self._programs = Programs(loop)
        self._ports = HealthPorts(loop, proxy)
        self._terminating = GracefulTermination() if proxy.mode == "ipvs" else None
        self._balancer = _balancer() if asyncio else None

    def finish(self) -> None:
        """Complete the current write."""
        self._programs.finish()

    def hear(self, news: dict[str, Any]) -> None:
        """Handle an update from control: changed Services, or all (`whole`), or those whose rules exist (`written`)."""
        services = [service_from_json(service) for service in news["services"]]
        removed = news.get("removed", ())
        if news.get("whole"):
            self._pending = {}
            removed = self._services.keys() - {service.key for service in services}
        self._pending |= {service.key: visible(service) for service in services}
        self._pending |= dict.fromkeys(removed)
        self._generation, self._due = news["generation"], True
        self._written = bool(news.get("written"))
        self._begin()

    def _begin(self) -> None:
        if self._busy or not (self._due or self._look_due):
            return
        work = self._work() if self._due else self._let_go()
        self._due, self._look_due, self._busy = False, self._look_due and self._due, True
        self._go_on(work, None)

    def _go_on(self, work: Doing, ran: list[Ran] | None) -> None:
        """Run the next step of a sync: programs, or the opening of sockets."""
        try:
            todo = next(work) if ran is None else work.send(ran)
        except StopIteration:
            self._busy = False
            self._begin()
            return
        if isinstance(todo, dict):
            assert self._asyncio
            assert self._balancer
            self._asyncio.do(self._balancer.update(todo, self._proxy), lambda: self._go_on(work, []))
        else:
            self._programs.run(todo, lambda ran: self._go_on(work, ran))

    def _work(self) -> Doing:
        """One sync, from the pending changes to the acknowledgement."""
        self._look_at_addresses()
        started, generation, full = time.monotonic(), self._generation, self._full
        written, self._written = self._written, False
        before, changed = self._take()
        if self._balancer:
            yield changed  # listeners first: a rule without a listener would refuse connections
        tried = {**self._left_out(), **changed}
        self._refused = {key: why for key, why in self._refused.items() if key not in tried}
        old, new = self._sync.change(tried)
        if full:
            gc.freeze()  # these objects stay: spare the collector from visiting them
        failure = "" if written else (yield from self._write(old, new))
        if failure:
            failure = yield from self._leave_out(tried, failure)
        if failure:
            self._fail(failure)
        else:
            self._full = False
            self._wait = self._later() if self._refused else SOONEST
        if not failure and not written:
            after = [*self._services.values()] if full else [service for service in changed.values() if service]
            yield from self._forget_flows(before, after)
        self._ports.healthy = not failure
        self._ports.update(self._services)
        seconds = round(time.monotonic() - started, 6)
        if not failure:
            yield from self._let_go()
        # Last of all: clients that wait for it rely on no further writes.
        report = {"generation": generation, "seconds": seconds, "error": failure}
        refused = {**self._ports.failed, **(self._balancer.failed if self._balancer else {}), **self._refused}
        self._line.send({"op": "synced", **report, **({"refused": refused} if refused else {})})

    def _look_at_addresses(self) -> None:
        """If the node's addresses have changed, write everything over what there is."""
        if (now := local(self._addresses)) != self._proxy.addresses:
            self._proxy = replace(self._proxy, addresses=now)
            self._sync = Sync(self._mode, self._proxy)
            self._sync.change(self._services)
            self._full = True

    def _write(self, old: Items, new: Items) -> Generator[Sequence[NodeCommand], list[Ran], str]:
        """Write the differences, or if that fails everything; return the error, or ""."""
        if not self._full:
            failure = _failure((yield self._commands(old, new)))
            if not failure:
                return ""
            _log(f"{failure}; writing all rules again")
        return (yield from self._write_all())

    def _write_all(self) -> Generator[Sequence[NodeCommand], list[Ran], str]:
        """Write everything, over the existing rules; return the error, or ""."""
        new = self._sync.items()
        ran = yield looks(new, self._proxy)
        if failure := _failure(ran):
            return failure
        seen = [(one.command, one.output) for one in ran]
        self._terminating = GracefulTermination() if self._terminating else None
        if failure := _failure((yield self._commands(found(seen, new), new))):
            return failure
        return _failure((yield self._mode.commands(leftovers(seen, new), {}, self._sync.proxy)))

    def _left_out(self) -> Changed:
        """The Services that were refused, if it is time to try them again."""
        again, self._again = self._again, False
        return {key: self._services[key] for key in self._refused if key in self._services} if again else {}

    def _leave_out(self, tried: Changed, failure: str) -> Generator[Sequence[NodeCommand], list[Ran], str]:
        """Write all without the Services that are refused; what is wrong if that is not one Service's fault."""
        some: Changed = {key: service for key, service in tried.items() if service}
        self._sync.change(dict.fromkeys(some))
        if not some or (yield from self._write_all()):
            self._sync.change(some)
            return failure
        yield from self._admit(some)
        for key, why in self._refused.items():
            _log(f"leaving out Service {key}: {why}")
        return ""

    def _admit(self, some: Changed) -> Generator[Sequence[NodeCommand], list[Ran], None]:
        """Write these Services, too; those that are refused are found by halves."""
        failure = _failure((yield self._commands(*self._sync.change(some))))
        if not failure:
            return
        self._sync.change(dict.fromkeys(some))
        yield from self._write_all()  # of several programs, those before the one that failed have written
        if len(some) == 1:
            self._refused |= dict.fromkeys(some, failure)
            return
        listed = [*some.items()]
        middle = len(listed) // 2
        yield from self._admit(dict(listed[:middle]))
        yield from self._admit(dict(listed[middle:]))

    def _take(self) -> tuple[list[ServiceInfo], Changed]:
        """Take the pending changes: the Services that differ, before and after."""
        pending, self._pending = self._pending, {}
        changed = {key: service for key, service in pending.items() if service != self._services.get(key)}
        before = [self._services[key] for key in changed if key in self._services]
        self._services |= {key: service for key, service in changed.items() if service}
        for key in [key for key, service in changed.items() if service is None]:
            self._services.pop(key, None)
        return before, changed

    def _commands(self, old: Items, new: Items) -> tuple[NodeCommand, ...]:
        if self._terminating:
            old, new = self._terminating.amend(old, new)
        return self._mode.commands(old, new, self._sync.proxy)

    def _forget_flows(self, before: Sequence[ServiceInfo], after: Sequence[ServiceInfo]) -> Doing:
        if conntrack.concerned((*before, *after)):
            ran = yield (conntrack.LIST,)
            if not (failure := _failure(ran)):
                ports = self._balancer.ports if self._balancer else None
                failure = _failure((yield conntrack.stale(ran[0].output, before, after, self._proxy, ports)))
            if failure:
                _log(failure)

    def _let_go(self) -> Doing:
        """Remove the IPVS real servers whose last connection has ended; schedule a check of the others."""
        if self._terminating and self._terminating.items:
            ran = yield (LIST,)
            if not (failure := _failure(ran)):
                gone = self._terminating.take(ran[0].output)
                failure = _failure((yield self._mode.commands(gone, {}, self._sync.proxy)))
            if failure:
                self._fail(failure)
            elif self._terminating.items and not self._looks:
                self._looks = True
                self._loop.at(time.monotonic() + AGAIN, self._look)

    def _look(self) -> None:
        self._looks, self._look_due = False, True
        self._begin()

    def _fail(self, failure: str) -> None:
        """Log a failure and schedule a full sync."""
        _log(failure)
        self._full = True
        self._wait = self._later()

    def _later(self) -> float:
        """Schedule another sync; the wait before the one after it."""
        self._loop.at(time.monotonic() + self._wait, self._retry)
        return min(self._wait * 2, LATEST)

    def _retry(self) -> None:
        if self._full or self._refused:
            self._due = self._again = True
            self._begin()


def _balancer() -> Balancer:
    from nslab.components.kubeproxy.balancer import Balancer  # imports asyncio, which only this mode needs

    return Balancer()


def _failure(ran: Sequence[Ran]) -> str:
    return ran[-1].failure if ran else ""


def _log(text: str) -> None:
    sys.stderr.write(f"kube-proxy: {text}\n")
    sys.stderr.flush()
