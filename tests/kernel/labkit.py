"""Labs for tests: a name of their own, calls of nslab as a person makes them, and what the kernel says is left."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nslab.admission.load import load
from nslab.app.down import down
from nslab.app.up import Up, up
from nslab.compiler.placement import assign_addresses
from nslab.errors import Missing
from nslab.lab.find import find
from nslab.linux.bird import find_bird
from nslab.linux.timeouts import scaled
from nslab.objects.names import cali, netns
from tests import prefork

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from nslab.lab.types import Encapsulation, Lab

ROOT = Path(__file__).parents[2]
NSLAB = (sys.executable, "-m", "nslab")
"""A call that starts as a person's does; `nslab` below starts sooner."""
ANYBODYS = {"capture_output", "cwd", "input", "text", "timeout"}
"""Options of `nslab` that say nothing about its process."""
PAUSE = 0.01
"""Seconds between two looks: who looks without a pause takes the processor from those that it waits for."""
RUN, IP_NETNS = Path("/run/nslab"), Path("/run/netns")

NAMESPACES = 10
"""Of calico-two-node: two nodes, the client, the switch, five pods (kube-dns is one of them), and control."""
PROCESSES = 21
"""A node's process each, also of the client (3); kube-proxy and the tunnel's end per node (4); control; a pause process
and a server per pod (10), and kube-dns's second container."""
ENDED = rf"{NAMESPACES} namespaces and ({PROCESSES}|{PROCESSES + 1}|{PROCESSES + 2}) processes ended"
"""What `down` says of calico-two-node: either kube-proxy may just have a program running."""

IN_A_WORLD_OF_ITS_OWN = ("unshare", "--mount", "--pid", "--fork", "--mount-proc", "sh", "-ec")
"""Before a script that may do anything to /run, and to all labs that it sees."""

TWO_NODES = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: NAME}
spec:
  cni: {plugin: calico, encapsulation: None}
  proxy: {mode: none}
  nodes: [{name: n1}, {name: n2}]
"""
"""Two nodes without Services; `NAME` is for the lab's own."""


def until(true: Callable[[], object], seconds: float = 10.0) -> None:
    """Return as soon as `true()` is; fail when it is not in time."""
    deadline = time.monotonic() + scaled(seconds)
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(PAUSE)


def kill(pid: int) -> None:
    """Kill a process, and return when it has ended: until then it is there for whoever looks."""
    pidfd = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        assert select.select([pidfd], [], [], scaled(10))[0]
    finally:
        os.close(pidfd)


def nslab(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """One call of the command line, with what it said.

    With options that are the process's own, such as `env` or `preexec_fn`, it is started as a person starts it.
    """
    program = prefork.nslab() if options.keys() <= ANYBODYS else NSLAB
    options = {"capture_output": True, "text": True, "timeout": 60, "cwd": ROOT, **options}
    return subprocess.run([*program, *map(str, arguments)], **options)


def nslabs(calls: Iterable[Sequence[object]], **options: Any) -> list[subprocess.CompletedProcess[str]]:
    """Calls that have nothing to do with each other, some at a time; what each said, in their order."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return [*pool.map(lambda call: nslab(*call, **options), calls)]


AGNHOST = """\
---
apiVersion: v1
kind: Pod
metadata: {name: NAME, labels: {app: APP}}
spec:
  nodeName: NODE
  containers:
  - {name: c, image: agnhost, args: [netexec, --http-port=8080, --udp-port=8081], ports: [{containerPort: 8080}]}
"""


def needs_bird(lab: Lab) -> None:
    """Skip where a lab's BIRD is missing."""
    try:
        find_bird(lab)
    except Missing as missing:
        pytest.skip(str(missing))


def agnhosts(pods: Mapping[str, tuple[str, str]]) -> str:
    """Pods of agnhost as YAML documents; `pods`: by name, the label app and the node."""
    filled = (AGNHOST.replace("NAME", name).replace("APP", app).replace("NODE", on) for name, (app, on) in pods.items())
    return "".join(filled)


def with_addresses(lab: Lab, text: str) -> str:
    """A text in which `WEB1` is the address of the pod web-1, and `@WEB1` its link's end on the node."""
    for pod in lab.pods:
        word = pod.name.replace("-", "").upper()
        text = text.replace(f"@{word}", cali(pod.namespace, pod.name)).replace(word, str(pod.assigned))
    return text


def in_host(lab: Lab, host: str, line: str) -> str:
    """The output of a command line in a host's network namespace, `with_addresses`; `NS.one` is the host one's."""
    line = with_addresses(lab, line.replace("NS.", netns(lab.name, "")))
    argv = ["ip", "netns", "exec", netns(lab.name, host), "sh", "-ec", line]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


class OwnLab:
    """A shipped lab under a name that nobody else on this machine uses."""

    def __init__(self, folder: Path, shipped: str = "calico-two-node", name: str = "") -> None:
        self.name = name or f"t{secrets.token_hex(4)}"
        self.file = folder / f"{self.name}.yaml"
        self.write(find(shipped).read_text().replace(f"name: {shipped}", f"name: {self.name}"))

    def write(self, text: str) -> None:
        """What the lab's file says from now on."""
        self.file.write_text(text)

    def edit(self, old: str, new: str) -> None:
        """Change one place of the file."""
        text = self.file.read_text()
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in the file"
        self.write(text.replace(old, new))

    def lab(self, encapsulation: Encapsulation | None = None) -> Lab:
        """The lab as the file says it."""
        return assign_addresses(load(self.file, encapsulation))

    def up(self, *options: str) -> str:
        """`nslab up`, which must succeed; what it printed."""
        done = nslab("up", self.file, *options)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def up_here(self, encapsulation: Encapsulation | None = None) -> Up:
        """`up` without a process of its own."""
        done = up(self.lab(encapsulation))
        assert [str(container) for container in done.not_ready] == []
        return done

    def down(self) -> str:
        """`nslab down`, which must succeed; what it printed. By its file: then it need not run."""
        done = nslab("down", self.file)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def clear(self) -> None:
        """Take away what a test may have left of it."""
        down(self.name)

    def differences(self) -> list[str]:
        """What `nslab diff` says, a line each."""
        done = nslab("diff", self.name, "-o", "json")
        lines = json.loads(done.stdout)["differences"]
        assert done.returncode == (1 if lines else 0)
        return list(lines)

    def ns(self, host: str) -> str:
        """The name of a host's namespace."""
        return f"nslab.{self.name}.{host}"

    def sh(self, host: str, command: str) -> str:
        """A command line in a host's network namespace, as a person types it with `ip netns exec`; its output."""
        argv = ["ip", "netns", "exec", self.ns(host), "sh", "-c", command]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def in_pod(self, pod: str, command: str, container: str = "") -> str:
        """What a command line in a container of a pod prints, its errors too."""
        chosen = ("-c", container) if container else ()
        done = nslab("exec", f"{self.name}/{pod}", *chosen, "--", "sh", "-c", command)
        return (done.stdout + done.stderr).strip()

    def talks(self, host: str, address: str, port: int = 8080) -> bool:
        """Whether a pod's server answers a host."""
        line = f"exec 3<>/dev/tcp/{address}/{port} && printf 'GET /hostname HTTP/1.0\\r\\n\\r\\n' >&3 && cat <&3"
        argv = ["ip", "netns", "exec", self.ns(host), "timeout", "5", "bash", "-c", line]
        return subprocess.run(argv, capture_output=True, text=True).returncode == 0

    def pids(self) -> dict[str, int]:
        """The processes with a role."""
        return pids(self.name)

    def left(self) -> list[str]:
        """Everything on this machine that has to do with the lab."""
        return left(self.name)


def pids(lab: str) -> dict[str, int]:
    """A lab's processes with a role, as the lab's journals have them: `HOST ROLE` to process number."""
    journals = [RUN / lab / "pids", *(RUN / lab / "nodes").glob("*.pids")]
    lines = [json.loads(line) for file in journals if file.exists() for line in file.read_text().splitlines()]
    return {
        f"{line['ns'].removeprefix(f'nslab.{lab}.')} {line['role']}": line["pid"]
        for line in lines
        if _start(line["pid"]) == line["start"] and _state(line["pid"]) not in "ZX"
    }


def left(lab: str) -> list[str]:
    """Everything on this machine that has to do with a lab, found in the plainest way."""
    files = [str(path) for path in (RUN / lab, RUN / f"{lab}.lock") if os.path.lexists(path)]
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    mounts = [point for point in points if f"{point}/".startswith(f"{RUN / lab}/") or f"nslab.{lab}." in point]
    runs = [f"{pid} {mark(pid)}" for pid in processes(lab)]
    return [*files, *_names(lab), *mounts, *runs]


def _names(lab: str) -> list[str]:
    """The lab's names for `ip netns`; their folder goes with the last lab's."""
    with contextlib.suppress(FileNotFoundError):
        return [str(IP_NETNS / name) for name in os.listdir(IP_NETNS) if name.startswith(f"nslab.{lab}.")]
    return []


def mark(pid: int) -> str:
    """The mark in a process's environment, or nothing."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return ""
    return next((entry[6:].decode(errors="replace") for entry in environment if entry.startswith(b"NSLAB=")), "")


def processes(lab: str) -> list[int]:
    """What bears the lab's mark or holds one of its namespaces or mounts, found in the plainest way."""
    return [
        pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if pid != os.getpid() and _is_of(pid, lab)
    ]


def _is_of(pid: int, lab: str) -> bool:
    if f"{mark(pid)} ".startswith(f"nslab.{lab}."):
        return Path(f"/proc/{pid}/stat").exists() and _state(pid) not in "ZX"
    return False


def _start(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return 0


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def parent(pid: int) -> int:
    """The number of a process's parent; 0 if there is no such process."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0
