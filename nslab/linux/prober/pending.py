"""The probes of a round that have no outcome yet, and until when each may wait."""

from __future__ import annotations

import math
from collections import deque
from itertools import takewhile
from typing import TYPE_CHECKING

from nslab.probes import Expected, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.linux.prober.talk import Talk, Timing


class Pending:
    """By number, in order of their start. Times are those of `time.monotonic`."""

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._must: dict[int, Talk] = {}
        self._must_not: dict[int, Talk] = {}
        self._retries: deque[tuple[float, int]] = deque()
        self._slowest = self._settled = 0.0

    def __len__(self) -> int:
        return len(self._must) + len(self._must_not)

    def begin(self, number: int, talk: Talk) -> None:
        """A probe has begun."""
        if talk.probe.expected is Expected.FAIL:
            self._must_not[number] = talk
        else:
            self._must[number] = talk
            self._retries.append((talk.began + self._timing.retry, number))

    def end(self, number: int, talk: Talk, now: float) -> None:
        """A probe has its outcome."""
        if self._must.pop(number, None):
            self._settled = now
            if talk.outcome is Outcome.REACHED:
                self._slowest = max(self._slowest, talk.took)
        self._must_not.pop(number, None)

    def unanswered(self, now: float) -> Iterator[int]:
        """The probes whose packet is to be sent again."""
        while self._retries and self._retries[0][0] <= now:
            _, number = self._retries.popleft()
            if number in self._must:
                yield number

    def overdue(self, now: float) -> list[int]:
        """Those that should be answered by now; then, once nothing else is pending, those that must not be."""
        in_time = now - self._timing.deadline
        late = [number for number, _ in takewhile(lambda one: one[1].began <= in_time, self._must.items())]
        return late or ([*self._must_not] if not self._must and now >= self._lost_at() else [])

    @property
    def due(self) -> float:
        """When the next timeout is; infinite if nothing is pending."""
        if self._must:
            first = next(iter(self._must.values())).began + self._timing.deadline
            return min(first, self._retries[0][0]) if self._retries else first
        return self._lost_at() if self._must_not else math.inf

    def _lost_at(self) -> float:
        last = max((talk.began for talk in self._must_not.values()), default=0.0)
        return max(last, self._settled) + max(self._timing.lost_after, 2 * self._slowest)
