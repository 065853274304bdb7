"""What watches packets in a lab's namespaces: taps, and the kernel's traces. They stay open for the next packet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.linux.taps import ask_for_stamps, begin_to_close, drain, tap
from nslab.linux.tracing.kernel_trace import KernelTrace
from nslab.linux.tracing.rule_texts import RuleTexts

if TYPE_CHECKING:
    import socket
    from collections.abc import Collection
    from threading import Thread
    from typing import Self

    from nslab.linux.netns import Namespaces


class Instruments:
    """Opened when they are used first; `begin_to_close` and leaving the context close them."""

    def __init__(self, spaces: Namespaces) -> None:
        ask_for_stamps(spaces)
        self.trace = KernelTrace(spaces)
        self.texts = RuleTexts()
        self._spaces = spaces
        self._taps: dict[str, socket.socket] = {}
        self._closing: list[Thread] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.begin_to_close()
        for thread in self._closing:
            thread.join()

    def taps(self, namespaces: Collection[str]) -> dict[str, socket.socket]:
        """A tap in each namespace, by its name; what passed before is forgotten."""
        for ns in namespaces:
            if ns in self._taps:
                drain(self._taps[ns])
            else:
                self._taps[ns] = tap(self._spaces, ns)
        return {ns: self._taps[ns] for ns in namespaces}

    def begin_to_close(self) -> None:
        """For who has watched the last packet: the kernel needs its time while something else is done."""
        self._closing += begin_to_close((*self._taps.values(), *self.trace.take_sockets()))
        self._taps.clear()
