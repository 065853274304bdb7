"""Felix's work: gets the whole of what it should know at each change, and runs programs that write what differs.

What `up` has written already it takes over unread, and computes when it next has to change it: until then it imports
nothing of nslab.policy, so that a node without changes has a small process. At its first write, and after a failure,
it compares with what it finds in the kernel. Established connections are not touched.
"""

from __future__ import annotations

import sys
import time

from nslab.components.runtime.control_client import ControlConnection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from typing import Any, TypeAlias

    from nslab.components.runtime.loop import Watches
    from nslab.components.runtime.programs import Programs, Ran
    from nslab.ruletext.items import Items, NodeCommand

    Doing: TypeAlias = Generator[Sequence[NodeCommand], list[Ran], str]

SOONEST, LATEST = 0.5, 30.0
"""Seconds after a failure before another attempt, at first and at most."""


class FelixAgent:
    """The Felix of one node. It writes one state at a time; what comes meanwhile is written after it, the last alone.

    `iptables`: the program whose -save and -restore it runs.
    """

    def __init__(self, loop: Watches, run: str, node: str, iptables: str) -> None:
        self._loop, self._node, self._iptables = loop, node, iptables
        self._programs: Programs | None = None
        self._news: dict[str, Any] | None = None
        self._written: dict[str, Any] | None = None  # the document whose items are in the kernel; None: unknown
        self._items: Items = {}
        self._busy, self._wait = False, SOONEST
        greeting = {"op": "watch", "node": node, "component": "felix"}
        self._line = ControlConnection(loop, run, lambda: greeting, self.hear)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        if self._programs:
            self._programs.finish()

    def hear(self, news: dict[str, Any]) -> None:
        """Handle an update from control: its `policy`, and whether the rules for it are `written`."""
        self._news = news
        self._begin()

    def _begin(self) -> None:
        if self._busy or self._news is None:
            return
        news, self._news = self._news, None
        if news["written"]:
            self._written, self._items = news["policy"], {}
            self._acknowledge(news["generation"], 0.0, "")
        else:
            self._busy = True
            self._go_on(self._work(news["policy"]), None, news, time.monotonic())

    def _go_on(self, work: Doing, ran: list[Ran] | None, news: dict[str, Any], began: float) -> None:
        try:
            todo = next(work) if ran is None else work.send(ran)
        except StopIteration as end:
            self._busy = False
            self._done(news, end.value, round(time.monotonic() - began, 6))
        else:
            self._ran_by().run(todo, lambda ran: self._go_on(work, ran, news, began))

    def _ran_by(self) -> Programs:
        if self._programs is None:
            from nslab.components.runtime.programs import Programs

            self._programs = Programs(self._loop)
        return self._programs

    def _done(self, news: dict[str, Any], failure: str, seconds: float) -> None:
        self._acknowledge(news["generation"], seconds, failure)
        if failure:
            sys.stderr.write(f"felix: {failure}\n")
            sys.stderr.flush()
            self._news = self._news or news
            self._loop.at(time.monotonic() + self._wait, self._begin)
            self._wait = min(self._wait * 2, LATEST)
        else:
            self._wait = SOONEST
            self._begin()

    def _work(self, policy: dict[str, Any]) -> Doing:
        """Write what differs, or else everything; returns the failure, or ""."""
        from nslab.policy import change

        new = self._compiled(policy)
        if self._written is not None:
            old = self._items or self._compiled(self._written)
            if not (yield from self._run(change.commands(old, new, self._iptables))):
                self._written, self._items = policy, new
                return ""
        self._written = None
        return (yield from self._write_all(policy, new))

    def _write_all(self, policy: dict[str, Any], new: Items) -> Doing:
        """Write everything over what there is, and then delete what is surplus."""
        from nslab.policy import change, found

        ran = yield found.looks(self._iptables)
        if failure := ran[-1].failure:
            return failure
        there = found.found([one.output for one in ran], new)
        surplus = found.leftovers(there, new)
        old = {item: body for item, body in there.items() if item not in surplus}
        # What is wanted first: a rule of somebody else's may prevent the deletion of the rest.
        failure = (yield from self._run(change.commands(old, new, self._iptables, anew=True))) or (
            yield from self._run(change.commands(surplus, {}, self._iptables))
        )
        if not failure:
            self._written, self._items = policy, new
        return failure

    def _run(self, commands: Sequence[NodeCommand]) -> Doing:
        if not commands:
            return ""
        ran = yield commands
        return ran[-1].failure

    def _compiled(self, policy: dict[str, Any]) -> Items:
        from nslab.policy import document, felix

        return felix.items(*document.from_json(policy, self._node))

    def _acknowledge(self, generation: int, seconds: float, failure: str) -> None:
        self._line.send({"op": "synced", "generation": generation, "seconds": seconds, "error": failure})
