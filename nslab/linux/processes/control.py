"""Client of a lab's control process: put Services, and get its state."""

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
    from collections.abc import Collection, Iterable, Mapping
    from typing import Self

    from nslab.proxy.model import ServiceInfo


class ControlClient:
    """A connection to the control process of a lab, opened when first needed. A `hold` ends with it."""

    def __init__(self, lab: str) -> None:
        self._lab = lab
        self._line: Connection | None = None
        self.failed: dict[str, dict[str, str]] = {}
        """What could not be written, by the last `put`: node to NAMESPACE/NAME ("": all; "felix") to reason."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        if self._line:
            self._line.socket.close()
            self._line = None

    def hold(self) -> dict[str, Any]:
        """Stop kube-proxies from writing until `put`, `release` or `close`; return pods' statuses by NAMESPACE/NAME.

        Without a control process no kube-proxy writes, and the result is empty.
        """
        try:
            return dict(self._ask({"op": "hold"})["pods"])
        except ControlAbsent:
            return {}

    def release(self) -> None:
        """Let kube-proxies write again."""
        if self._line:
            self._ask({"op": "release"})

    def put(
        self,
        services: Iterable[ServiceInfo],
        removed: Iterable[str] = (),
        *,
        whole: bool = True,
        expect: Mapping[str, Collection[str]] | None = None,
        written: Collection[str] | None = None,
        policy: Mapping[str, Any] | None = None,
        policy_written: Collection[str] = (),
    ) -> tuple[tuple[str, str], ...]:
        """Put Services, all of them (`whole`) or some (`removed`: keys), and wait until components have followed.

        Waits for the nodes `expect` of each component (kube-proxy, felix), or for all that watch; returns those that
        timed out, (component, node). `written`: nodes that have all these rules already and a kube-proxy that is
        starting; it takes them over, so nobody waits for it. `policy`: what Felixes are told (nslab.policy.document;
        None: what they were told); `policy_written`: nodes that have its rules already, whose Felixes take them over.
        """
        update = {"services": [to_json(service) for service in services], "removed": [*removed], "whole": whole}
        nodes = {component: [*names] for component, names in (expect or {}).items()}
        known = {"policy": policy, "policy_written": [*policy_written]}
        answer = self._ask({"op": "put", **update, "expect": nodes, "written": written and [*written], **known})
        self.failed = answer.get("failed", {})
        return tuple((component, node) for component, node in answer["late"])

    def get(self) -> dict[str, Any]:
        """Return the state of control: generation, services, pods, and the progress of each node's kube-proxy."""
        return self._ask({"op": "get"})

    def progress(self, seconds: float) -> tuple[int, bool]:
        """The generation of the Services, and whether all kube-proxies have followed. Refused after so many seconds."""
        answer = self._ask({"op": "progress"}, seconds)
        return int(answer["generation"]), bool(answer["followed"])

    def _ask(self, request: dict[str, Any], seconds: float = TIMEOUT) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        try:
            line = self._connected()
            answers = line.send([request], deadline)
            answer = (answers or line.receive(1, deadline))[0]
        except OSError as error:
            self.close()
            raise Refused(_name(self._lab), error_text(error)) from error
        if "error" in answer:
            raise Refused(_name(self._lab), answer["error"])
        return answer

    def _connected(self) -> Connection:
        if self._line is None:
            try:
                self._line = Connection(connect(folder(self._lab) / rundir.CONTROL_SOCKET), "the lab's control")
            except (FileNotFoundError, ConnectionRefusedError) as error:
                raise ControlAbsent(self._lab) from error
        return self._line


class ControlAbsent(Refused):
    """The lab has no control process."""

    def __init__(self, lab: str) -> None:
        super().__init__(_name(lab), f"it does not run; `nslab up {lab}` brings it back")


def _name(lab: str) -> str:
    return f"the control process of lab {lab}"
