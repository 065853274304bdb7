"""The same topology with mininet: nodes and links with its own classes, the rest with as few commands as possible.

`description` describes the topology, `run` has mininet build it. The program at the end is mininet's side: it runs with
the distribution's Python, in new network, mount and pid namespaces, since mininet works in those of its caller.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nslab.objects.plan import Plan

PYTHON = "/usr/bin/python3"
_ALONE = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
_SERVER = "python3 -m http.server 8080 >/dev/null 2>&1 &"
_ANSWERS = "until (exec 3<>/dev/tcp/127.0.0.1/8080) 2>/dev/null; do sleep 0.01; done"


def installed() -> bool:
    """Whether mininet is installed."""
    return not subprocess.run([PYTHON, "-c", "import mininet.node"], capture_output=True, check=False).returncode


def description(plan: Plan, folder: str, iptables: str) -> dict[str, Any]:
    """Describe hosts, links and the commands inside each host; writes the files that the commands read."""
    from benchmarks.shellway import inside, restores
    from nslab.objects.inet import Address
    from nslab.objects.links import Veth
    from nslab.objects.namespaces import Netns

    short = {step.obj.ns: step.obj.ns.rsplit(".", 1)[1] for step in plan}
    veths = [step.obj for step in plan if isinstance(step.obj, Veth)]
    addresses = [(short[o.ns], str(o.address.ip)) for step in plan if isinstance(o := step.obj, Address)]
    pods = [(host, address) for host, address in addresses if host.startswith("pod-")]
    commands = {}
    for ns, host in short.items():
        part = inside(plan, ns)
        # mininet creates veths, but without setting their MTU.
        ends = [(c.name, c.mtu) for c in veths if c.ns == ns] + [(c.peer, c.mtu) for c in veths if c.peer_ns == ns]
        mtus = "".join(f"link set {name} mtu {mtu}\n" for name, mtu in ends)
        rest = "".join(f"{line}\n" for line in part.ip.splitlines() if " type veth " not in line)
        lines, files = restores(part, ns, folder, iptables)
        files |= {f"{ns}.ip": mtus + rest, f"{ns}.inside": f"ip -batch {folder}/{ns}.ip\n{lines}"}
        for name, text in files.items():
            (Path(folder) / name).write_text(text)
        commands[host] = f". {folder}/{ns}.inside"
    return {
        "hosts": [short[step.obj.ns] for step in plan if isinstance(step.obj, Netns)],
        "links": [[short[c.ns], short[c.peer_ns], c.name, c.peer, c.mac, c.peer_mac] for c in veths],
        "commands": commands,
        "pods": [host for host, _ in pods],
        "ping": [pods[0][0], pods[1][1]],
    }


def run(file: Path) -> dict[str, float]:
    """Milliseconds: `build` of links and hosts; `whole`, from the start; `answering`, with a server in each pod."""
    started = time.perf_counter()
    argv = [*_ALONE, PYTHON, str(Path(__file__).resolve()), str(file)]
    spent: dict[str, float] = {}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            output = json.loads(line)
            if "built" in output:
                spent |= {"build": output["built"], "whole": (time.perf_counter() - started) * 1000}
            else:
                spent["answering"] = (time.perf_counter() - started) * 1000
    if process.returncode or len(spent) != 3:
        sys.exit("mininet failed")
    return spent


def _build(described: dict[str, Any]) -> None:
    from mininet.link import Link  # type: ignore[import-not-found]
    from mininet.node import Node  # type: ignore[import-not-found]

    started = time.perf_counter()
    nodes = {name: Node(name) for name in described["hosts"]}
    for one, other, near, far, near_mac, far_mac in described["links"]:
        Link(nodes[one], nodes[other], intfName1=near, intfName2=far, addr1=near_mac, addr2=far_mac)
    for name, command in described["commands"].items():
        output = nodes[name].cmd(command)
        if output.strip():
            sys.exit(f"mininet: {name}: {output}")
    print(json.dumps({"built": (time.perf_counter() - started) * 1000}), flush=True)
    for pod in described["pods"]:
        nodes[pod].cmd(_SERVER)
    for pod in described["pods"]:
        nodes[pod].cmd(_ANSWERS)
    print(json.dumps({"answering": True}), flush=True)
    pod, address = described["ping"]
    # The first packets may get lost: mininet does not wait until its links are up.
    if " 0 received" in nodes[pod].cmd(f"ping -c5 -i0.5 -W1 {address}"):
        sys.exit(f"mininet: {pod} does not reach {address}")


if __name__ == "__main__":
    # This file is also named mininet: remove its folder from the path.
    sys.path = [place for place in sys.path if Path(place).resolve() != Path(__file__).resolve().parent]
    _build(json.loads(Path(sys.argv[1]).read_text()))
