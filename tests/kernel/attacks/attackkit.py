"""Attacks on a lab from inside it, by the command line; and what of the machine they were after."""

from __future__ import annotations

import inspect
import json
import os
import re
import secrets
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.kernel.attacks import intruder
from tests.kernel.labkit import OwnLab, nslab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROGRAMS = pytest.mark.skipif(
    shutil.which("python3", path="/usr/bin:/bin") is None, reason="containers have no Python (/usr/bin/python3)"
)
MARKS = [pytest.mark.root, PROGRAMS]
HEAD = """\
apiVersion: nslab/v1
kind: Lab
metadata: {{name: {name}}}
spec:
  networks: {{nodes: 192.168.59.0/24, pods: 20.96.0.0/12, services: 10.96.0.0/12}}
  cni: {{plugin: kubenet}}
  proxy: {{mode: none}}
  dns: {{address: 10.96.0.10}}
  nodes:
  - {{name: node1, address: 192.168.59.22, podCIDR: 20.96.1.0/24}}
  clients:
  - {{name: client, address: 192.168.59.10}}
"""
AGNHOST = "registry.k8s.io/e2e-test-images/agnhost:2.53"
KUBEDNS = "registry.k8s.io/dns/k8s-dns-kube-dns:1.23.0"
SLEEP = {"command": ["sleep", "infinity"]}
SHARED: dict[str, dict[str, Any]] = {
    "app": SLEEP,
    "web": {"image": AGNHOST, "args": ["netexec", "--http-port=8080", "--udp-port=-1"]},
    "names": {"image": KUBEDNS, "args": ["--dns-port=10054"]},
}
"""Containers beside each other: a foreign one, and two that nslab has in itself."""


def pod(name: str, containers: dict[str, dict[str, Any]], **fields: Any) -> str:
    """A pod on node1, as a document of a lab's file."""
    named = [{"name": container, **rest} for container, rest in containers.items()]
    spec = {"nodeName": "node1", "containers": named, **fields}
    return "---\n" + json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}) + "\n"


@contextmanager
def running(folder: Path, *pods: str, ready: bool = True) -> Iterator[OwnLab]:
    """A lab of these pods; unless all must be `ready`, some may have failed."""
    lab = OwnLab(folder, "pause-pod")
    lab.write(HEAD.format(name=lab.name) + "".join(pods))
    try:
        if ready:
            lab.up()
        else:
            nslab("up", lab.file)
        yield lab
    finally:
        lab.clear()


def program(attack: Callable[..., Any], *arguments: object) -> list[str]:
    """The command that makes an attack of `intruder`."""
    source, shown = inspect.getsource(intruder), json.dumps(arguments)
    return ["python3", "-c", f"{source}\nprint(json.dumps({attack.__name__}(*json.loads({shown!r}))))"]


def inside(lab: OwnLab, where: str, attack: Callable[..., Any], *arguments: object, **options: Any) -> Any:
    """What an attack returns that is made in a pod (POD or POD:CONTAINER) or on a node."""
    host, _, container = where.partition(":")
    flags = ["-c", container] if container else []
    done = nslab("exec", f"{lab.name}/{host}", *flags, "--", *program(attack, *arguments), **options)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return answer(done.stdout)


def together(lab: OwnLab, where: str, **attacks: tuple[Any, ...]) -> dict[str, Any]:
    """The same of some attacks (a function and its arguments, by name) that are made by one call."""
    named = [(attack.__name__, arguments) for attack, *arguments in attacks.values()]
    return dict(zip(attacks, inside(lab, where, intruder.together, named), strict=True))


def answer(output: str) -> Any:
    """What an attack returned, by what it printed."""
    return json.loads(output.splitlines()[-1])


def logs(lab: OwnLab) -> dict[str, str]:
    """What every container on node1 has printed so far: by POD/CONTAINER."""
    script = "cd /var/log/pods && tail -n +1 -v */*/*.log"
    output = nslab("exec", f"{lab.name}/node1", "--", "sh", "-c", script).stdout
    found: dict[str, str] = {}
    for path, text in re.findall(r"^==> (\S+) <==\n(.*?)\n?(?=^==> |\Z)", output, re.MULTILINE | re.DOTALL):
        pod_folder, container, _ = path.split("/")
        lines = (line.split(" ", 3) for line in text.splitlines())
        texts = (f"{fields[3]}{'' if fields[2] == 'P' else chr(10)}" for fields in lines if len(fields) == 4)
        found[f"{pod_folder.split('_')[1]}/{container}"] = "".join(texts)
    return found


def secret(folder: Path) -> Path:
    """A file of the machine's that nobody but its owner may read."""
    path = folder / f"secret-{secrets.token_hex(8)}"
    path.write_text("a secret of the machine's\n")
    path.chmod(0o600)
    return path


def machines_files(marker: Path) -> list[str]:
    """Files of the machine's that nobody inside has to see: a secret one, and one of these tests."""
    return [str(marker), str(Path(__file__).resolve())]


def interpreter() -> Path:
    """What runs nslab."""
    return Path(sys.executable).resolve()


def looks(path: Path) -> tuple[object, ...]:
    """All by which one sees that a file was changed."""
    found = path.stat()
    attributes = {name: os.getxattr(path, name) for name in os.listxattr(path)}
    times = found.st_mtime_ns, found.st_ctime_ns
    return (oct(found.st_mode), found.st_uid, found.st_gid, found.st_size, *times, found.st_nlink, attributes)
