"""The processes of pods: the pause process, which holds a pod's namespaces, and the containers."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from nslab.dataclass import dataclass, field
from nslab.objects.base import Add, KernelObject
from nslab.objects.keys import Layer
from nslab.objects.process import PYTHON, QUIET, Supervised
from nslab.quote import fill, quote

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from ipaddress import IPv4Address

    from nslab.objects.base import Step
    from nslab.objects.keys import Key
    from nslab.runtime.health_check import HealthCheck

_OWN_PIDS = " --pid --fork --mount-proc"
_OWN = f"unshare{_OWN_PIDS}"


class File(NamedTuple):
    """A file of a volume: `data` has a character for each byte (latin-1)."""

    path: str
    mode: int
    data: str


class PodVolume(NamedTuple):
    """A volume as its node makes it: how many bytes it holds, its group (-1: root's), and its files, if it is of those.

    Without files (None) it is an empty folder that containers write into.
    """

    size: int
    group: int = -1
    files: tuple[File, ...] | None = None


class Mount(NamedTuple):
    """Where a container has a volume of its pod, which is the one of that number, or a part of it."""

    volume: int
    path: str
    sub_path: str = ""
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Sandbox(Supervised):
    """A pod's pause process: it holds the pod's namespaces (net, uts, ipc; pid when shared), and its volumes.

    `host_network`: net and uts are its node's. `ns` then names the pod, and no namespace.
    `domain`, `aliases`: for its /etc/hosts. `asked`: the volumes of its file; `volumes`: what they held at its start.
    """

    role: ClassVar[str] = "pause"
    namespace: str
    pod: str
    uid: str
    hostname: str
    address: IPv4Address
    share_pid: bool
    resolv_conf: str
    domain: str = ""
    aliases: str = ""
    asked: str = ""
    volumes: tuple[PodVolume, ...] = field(default=(), compare=False, repr=False)
    host_network: bool = False

    primitives: ClassVar[tuple[str, ...]] = ("mount, uts, ipc and pid namespaces",)

    @property
    def network(self) -> str:
        """The network namespace of its containers."""
        return self.node if self.host_network else self.ns

    @property
    def requires(self) -> tuple[Key, ...]:
        return (("Netns", self.network),)

    @property
    def description(self) -> str:
        return f"pause, the process that holds the namespaces of pod {self.namespace}/{self.pod}"

    def started(self) -> str:
        uts, name = ("", "") if self.host_network else (" --uts", f"{fill('hostname {}', self.hostname)} && ")
        hold = f"unshare{uts} --ipc{_OWN_PIDS if self.share_pid else ''} sh -c {quote(f'{name}exec sleep infinity')}"
        return f"{fill('NSLAB={} ip netns exec {}', self.mark, self.network)} {hold} & pause[{quote(self.ns)}]=$!"

    def script_lines(self, step: Step, _all: Mapping[Key, KernelObject]) -> list[str]:
        if not isinstance(step, Add):
            return self.lines(step)
        # The script's next lines join its namespaces: `pause` returns once they exist.
        network = fill("NETNS={} ", self.network) if self.host_network else ""
        return [network + fill("pause {} {}", self.ns, self.hostname) + (_OWN_PIDS if self.share_pid else "")]

    def request(self) -> dict[str, Any]:
        pod = _fields(self, "ns", "namespace", "pod", "uid", "hostname", "share_pid", "resolv_conf")
        further = _fields(self, "domain", "aliases", "volumes")
        further["network"] = self.network if self.host_network else ""
        pod |= {name: value for name, value in further.items() if value}
        return {"what": "Sandbox", **pod, "address": str(self.address)}

    @property
    def label(self) -> str:
        return "pause process"


class Security(NamedTuple):
    """A container's user, group and file system; `dropped`: capabilities it drops from the runtime's default set."""

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    dropped: tuple[str, ...] = ()
    read_only: bool = False


ROOT = Security()
"""Root with the runtime's default capabilities."""


class Limits(NamedTuple):
    """A container's limits: bytes of memory, bytes of files, number of processes; 0: the default."""

    memory: int = 0
    storage: int = 0
    pids: int = 0


USUAL = Limits()


class Start(NamedTuple):
    """What a container starts with: its command and variables with what other objects gave them at that moment.

    `links`: the variables of Services, NAME=VALUE, with a NUL between.
    """

    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    links: str = ""
    mounts: tuple[Mount, ...] = ()


@dataclass(frozen=True, slots=True)
class Workload(Supervised):
    """One container of a pod: `argv` in the pod's namespaces. `port` (TCP) is polled until it accepts; 0: no port.

    `backoff`: the seconds between its second exit and its third start, from which the kubelet's back-off grows.
    `grace`: the seconds from SIGTERM to SIGKILL. `lifecycle`: its hooks. `init`: what kind of init container it is.
    `after`: the init containers before it; it starts when they have ended well, and sidecars have started.
    `sources`: the sources of its further variables and files; `start`: what they held when it started; `masked`: the
    same for people to read, without the values of Secrets, if it has any. `image`: as the pod names it, for events.
    """

    container: str
    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    working_dir: str
    port: int
    restart: Literal["Always", "OnFailure", "Never"] = "Always"
    readiness: HealthCheck | None = None
    liveness: HealthCheck | None = None
    backoff: float = 10.0
    security: Security = ROOT
    limits: Limits = USUAL
    grace: float = 30.0
    startup: HealthCheck | None = None
    lifecycle: tuple[tuple[str, HealthCheck], ...] = ()
    init: Literal["", "init", "sidecar"] = ""
    after: tuple[str, ...] = ()
    sources: str = ""
    image: str = field(default="", compare=False, repr=False)
    start: Start | None = field(default=None, compare=False, repr=False)
    masked: Start | None = field(default=None, compare=False, repr=False)

    GRACE: ClassVar[float] = 30.0
    rank: ClassVar[int] = Layer.PROCESS + 1

    @property
    def key(self) -> Key:
        return ("Process", self.ns, f"container/{self.container}")

    def asks(self, kind: str) -> bool:
        """Whether one of its probes is of this kind."""
        return any(check and check.kind == kind for check in (self.readiness, self.liveness, self.startup))

    @property
    def requires(self) -> tuple[Key, ...]:
        return (("Process", self.ns, Sandbox.role),)

    @property
    def description(self) -> str:
        return f"container {self.container}: {' '.join(map(quote, self._shown.argv))}"

    def started(self) -> str:
        return f"{self._joined(_OWN, self._shown)} &"

    def script_lines(self, step: Step, _all: Mapping[Key, KernelObject]) -> list[str]:
        if not isinstance(step, Add):
            return self.lines(step)
        pod = _all.get(self.requires[0])
        shared = f"--pid=/proc/${{pause[{quote(self.ns)}]}}/ns/pid_for_children unshare --mount-proc"
        pids = shared if isinstance(pod, Sandbox) and pod.share_pid else _OWN
        # Unlike what is printed for people to read, a script runs.
        return [f"{self._joined(pids, self.begun)}{QUIET}"]

    def _joined(self, pids: str, begun: Start) -> str:
        """The command line that joins the pause process's namespaces. `pids`: the options for the pid namespace."""
        join = f"nsenter --target ${{pause[{quote(self.ns)}]}} --net --uts --ipc {pids}"
        return f"{fill('NSLAB={}', self.mark)} {join} {_rights(self.security)}{_with_environment(begun)}"

    def request(self) -> dict[str, Any]:
        what = _fields(self, "ns", "container", "working_dir", "port", "security", "limits")
        what |= {name: value for name, value in self.begun._asdict().items() if value or name in ("argv", "env")}
        kubelet = _fields(self, "restart", "backoff")
        # A field that few containers have is sent for those alone: it takes memory of their node.
        kubelet |= {name: value for name, value in self._further() if value}
        for name, check in (("readiness", self.readiness), ("liveness", self.liveness)):
            kubelet[name] = check and check.fields()
        number = hashlib.sha256(f"{self.ns}/{self.container}".encode()).hexdigest()
        return {"what": "Workload", **what, **kubelet, "number": number}

    def _further(self) -> Iterator[tuple[str, Any]]:
        yield "grace", self.grace if self.grace != Workload.GRACE else None
        yield from (("init", self.init), ("after", self.after), ("image", self.image))
        yield "startup", self.startup and self.startup.fields()
        yield "lifecycle", {name: hook.fields() for name, hook in self.lifecycle}

    @property
    def begun(self) -> Start:
        """What it starts with."""
        return self.start or Start(self.argv, self.env)

    @property
    def _shown(self) -> Start:
        return self.masked or self.begun

    @property
    def label(self) -> str:
        return f"running container {self.container}"


def _fields(obj: Supervised, *names: str) -> dict[str, Any]:
    return {name: getattr(obj, name) for name in names}


def _rights(security: Security) -> str:
    """The setpriv(1) prefix for a container's user, groups and dropped capabilities; "" for ROOT."""
    uid, gid, groups, dropped, _ = security
    more = f"--groups={','.join(map(str, groups))}" if groups else "--clear-groups"
    identity = (f"--reuid={uid}", f"--regid={gid}", more) if uid or gid or groups else ()
    bounds = (f"--bounding-set={','.join(f'-{name.lower()}' for name in dropped)}",) if dropped else ()
    options = (*identity, *bounds)
    return f"setpriv {' '.join(options)} " if options else ""


def _with_environment(begun: Start) -> str:
    """The container's command after env(1) with its variables, which must not affect nsenter and unshare before it.

    `env` accepts any variable name; a shell accepts only some, and runs the others as commands. The variables of
    Services are left out.
    """
    (program, *arguments), variables, *_ = begun
    env = [f"{name}={value}" for name, value in variables if name != "NSLAB"]  # NSLAB is nslab's own mark
    words = [quote(program)]
    if program in ("agnhost", "kubedns", "standin"):
        module = "grpc_health" if arguments[:1] == ["grpc-health-checking"] else program
        words = [f"{PYTHON}.images.{module}"]
    elif env and "=" in program:
        words = ["unshare", "--", quote(program)]  # env would parse it as one more variable
    elif not env and program.startswith("-"):
        words = ["--", quote(program)]
    if env:
        options = ["--"] if env[0].startswith("-") else []
        words = ["env", *options, *map(quote, env), *words]
    return " ".join([*words, *map(quote, arguments)])
