"""Lifecycle hooks: what runs once after a container has started, or before it ends."""

from __future__ import annotations

import time

from nslab.components.kubelet.prober import Prober
from nslab.runtime.health_check import HealthCheck

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from nslab.components.kubelet.prober import Run
    from nslab.components.runtime.loop import Loop


def run(
    loop: Loop, address: str, hook: dict[str, Any], seconds: float, run_in: Run, done: Callable[[str], None]
) -> None:
    """Run a hook for at most `seconds`; then call `done` once, with its error, or "".

    `address`: of the pod; `run_in`: has a process run it (see Prober).
    """
    check = HealthCheck(**{**hook, "timeout": seconds})
    if check.kind == "sleep":
        loop.at(time.monotonic() + min(check.period, seconds), lambda: done(""))
        return

    def asked(_: HealthCheck, wrong: str, _known: bool) -> None:
        prober.stop()
        done(wrong)

    prober = Prober(loop, address, check, asked, run_in)
    prober.begin(0.0)
