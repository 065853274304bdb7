"""Talking to a lab's control process: putting Services, and asking what it tells."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from nslab import rundir
from nslab.errors import Refused, error_text
from nslab.linux.netns import folder
from nslab.linux.processes.connection import TIMEOUT, Connection
from nslab.proxy.model import to_json
from nslab.runtime.rpc import connect

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from typing import Self

    from nslab.proxy.model import Service


class ControlClient:
    """A line to the control process of a lab, dialled when it is first needed. What is held ends with it."""

    def __init__(self, lab: str) -> None:
        self._lab = lab
        self._line: Connection | None = None
        self.failed: dict[str, dict[str, str]] = {}
        """What kube-proxies could not write, by the last `put`: node to NAMESPACE/NAME to reason; "": all Services."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        if self._line:
            self._line.socket.close()
            self._line = None

    def hold(self) -> dict[str, Any]:
        """Have kube-proxies rest until `put`, `release` or the end; the pods' statuses (NAMESPACE/NAME to status).

        Without a control process there is nobody to wait for, and nothing known.
        """
        try:
            return dict(self._ask({"op": "hold"})["pods"])
        except ControlAbsent:
            return {}

    def release(self) -> None:
        """Let kube-proxies go on."""
        if self._line:
            self._ask({"op": "release"})

    def put(
        self,
        services: Iterable[Service],
        removed: Iterable[str] = (),
        *,
        whole: bool = True,
        expect: Collection[str] | None = None,
        written: Collection[str] | None = None,
    ) -> tuple[str, ...]:
        """Put Services, all of them or some (`removed` are keys); returns when kube-proxies have followed.

        Those of the nodes `expect`, or all that watch. Returns the nodes that did not in time. `written`: the nodes
        that have all these rules and a kube-proxy that starts: it takes them over, and need not be waited for.
        """
        update = {"services": [to_json(service) for service in services], "removed": [*removed], "whole": whole}
        nodes = {"expect": expect, "written": written}
        answer = self._ask({"op": "put", **update, **{name: names and [*names] for name, names in nodes.items()}})
        self.failed = answer.get("failed", {})
        return tuple(answer["late"])

    def get(self) -> dict[str, Any]:
        """What it tells: generation, services, pods, and how far each node's kube-proxy is."""
        return self._ask({"op": "get"})

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        deadline = time.monotonic() + TIMEOUT
        try:
            line = self._dialled()
            answers = line.send([request], deadline)
            answer = (answers or line.receive(1, deadline))[0]
        except OSError as error:
            self.close()
            raise Refused(f"asking the control process of lab {self._lab}", error_text(error)) from error
        if "error" in answer:
            raise Refused(f"asking the control process of lab {self._lab}", answer["error"])
        return answer

    def _dialled(self) -> Connection:
        if self._line is None:
            try:
                self._line = Connection(connect(folder(self._lab) / rundir.CONTROL_SOCKET), "the lab's control")
            except (FileNotFoundError, ConnectionRefusedError) as error:
                raise ControlAbsent(self._lab) from error
        return self._line


class ControlAbsent(Refused):
    """There is no control process."""

    def __init__(self, lab: str) -> None:
        super().__init__(
            f"asking the control process of lab {lab}", f"it does not run; `nslab up {lab}` brings it back"
        )
