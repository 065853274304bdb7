"""The probes of the kubelet: one class from the lab file to the node's process."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal


class HealthCheck:
    """A probe of the kubelet: its request, and how many equal results in a row change the health. Times in seconds.

    `port`: a number, or in a lab the name of a port of the container; 0: a name that the container does not have, so
    that the probe fails. A value: compares by its fields, and must not be changed.
    """

    # Not a dataclass: compiling one takes memory in each node's process. (The order is that of `repr`: the names of a
    # Deployment's pods are derived from the `repr` of its template.)
    __slots__ = ("kind", "port", "path", "initial_delay", "period", "timeout", "successes", "failures")  # noqa: RUF023

    def __init__(
        self,
        kind: Literal["httpGet", "tcpSocket"],
        port: int | str,
        path: str = "/",
        initial_delay: float = 0,
        period: float = 10,
        timeout: float = 1,
        successes: int = 1,
        failures: int = 3,
    ) -> None:
        self.kind, self.port, self.path = kind, port, path
        self.initial_delay, self.period, self.timeout = initial_delay, period, timeout
        self.successes, self.failures = successes, failures

    def fields(self) -> dict[str, Any]:
        """The fields by name, for JSON; HealthCheck(**fields) is equal."""
        return {name: getattr(self, name) for name in self.__slots__}

    def __eq__(self, other: object) -> bool:
        return self.fields() == other.fields() if isinstance(other, HealthCheck) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self.fields().values()))

    def __repr__(self) -> str:
        return f"HealthCheck({', '.join(f'{name}={value!r}' for name, value in self.fields().items())})"
