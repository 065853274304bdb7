"""What the kubelet asks of a container, from time to time or, as a lifecycle hook, once: the same from the lab file to
the node's process.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Literal


class HealthCheck:
    """A probe of the kubelet: its request, and how many equal results in a row change the health. Times in seconds.

    `port`: a number, or as a lab has it the name of one that the container declares; 0: a name that none has, so that
    nobody can be asked, or no port is needed. `command`: what runs in the container (exec). `host`, `headers`, `scheme`
    (HTTPS, or ""): of an HTTP request, where it says so. `service`: the one that a gRPC server is asked about. `sleep`,
    which a hook alone does, lasts for `period`. Equal to one of the same fields, and not to be changed.
    """

    # No dataclass: a node's process would compile it, and own what that touches. (In the order in which `repr` shows
    # them: the names of a Deployment's pods come from that of its template.)
    __slots__ = (  # noqa: RUF023
        "kind", "port", "path", "initial_delay", "period", "timeout", "successes", "failures", "command", "host",
        "headers", "scheme", "service",
    )  # fmt: skip
    _LATER = ("command", "host", "headers", "scheme", "service")
    """The fields that are named only where they say something."""

    def __init__(
        self,
        kind: Literal["httpGet", "tcpSocket", "exec", "grpc", "sleep"],
        port: int | str = 0,
        path: str = "/",
        initial_delay: float = 0,
        period: float = 10,
        timeout: float = 1,
        successes: int = 1,
        failures: int = 3,
        command: Sequence[str] = (),
        host: str = "",
        headers: Sequence[Sequence[str]] = (),
        scheme: Literal["", "HTTPS"] = "",
        service: str = "",
    ) -> None:
        self.kind, self.port, self.path = kind, port, path
        self.initial_delay, self.period, self.timeout = initial_delay, period, timeout
        self.successes, self.failures = successes, failures
        self.command, self.host, self.scheme, self.service = tuple(command), host, scheme, service
        self.headers = tuple((name, value) for name, value in headers)

    def fields(self) -> dict[str, Any]:
        """By name, as JSON has them: HealthCheck(**fields) is the same."""
        every = ((name, getattr(self, name)) for name in self.__slots__)
        return {name: value for name, value in every if value or name not in self._LATER}

    def __eq__(self, other: object) -> bool:
        return self.fields() == other.fields() if isinstance(other, HealthCheck) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self.fields().values()))

    def __repr__(self) -> str:
        return f"HealthCheck({', '.join(f'{name}={value!r}' for name, value in self.fields().items())})"
