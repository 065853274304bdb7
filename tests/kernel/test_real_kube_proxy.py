"""nslab steps aside: in mode `none`, a real kube-proxy inside a node does the whole work, and nothing of ours minds.

NSLAB_KUBE_PROXY names the program. What was tried is 1.20, as built from Debian's source package `kubernetes`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nslab.compiler.endpoints import resolve
from nslab.proxy.model import to_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.pytest_plugin.hosts import Host
    from nslab.pytest_plugin.running import RunningLab

PROXY = os.environ.get("NSLAB_KUBE_PROXY", "")
API = Path(__file__).with_name("api_server.py")
pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not PROXY, reason="NSLAB_KUBE_PROXY does not name a real kube-proxy"),
]
FLAGS = (
    "--master=http://127.0.0.1:8001", "--kube-api-content-type=application/json", "--cluster-cidr=20.96.0.0/12",
    # Settings of the whole machine are not a node's to change.
    "--conntrack-max-per-core=0", "--conntrack-min=0", "--conntrack-tcp-timeout-established=0",
    "--conntrack-tcp-timeout-close-wait=0",
)  # fmt: skip


@contextmanager
def running(lab: RunningLab, node: Host, log: Path) -> Iterator[None]:
    """An API server and a real kube-proxy in a node; both end with this."""
    shown = json.dumps([to_json(service) for service in resolve(lab.desired)])
    inside = ["ip", "netns", "exec", node.netns]
    with log.open("w") as file:
        api = subprocess.Popen(
            [*inside, sys.executable, API, "8001", node.name, str(node.address)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert api.stdin
        assert api.stdout
        api.stdin.write(shown)
        api.stdin.close()
        assert api.stdout.readline() == "ready\n"
        # Its own /run: the machine's lock of iptables is not a node's.
        mounts = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /run && exec "$0" "$@"']
        proxy = subprocess.Popen(
            [*inside, *mounts, PROXY, "--proxy-mode=iptables", f"--hostname-override={node.name}", *FLAGS],
            stdout=file, stderr=file,
        )  # fmt: skip
        try:
            yield
        finally:
            for process in (proxy, api):
                process.kill()
                process.wait()
            api.stdout.close()


def is_served(host: Host, url: str) -> bool:
    try:
        return host.http(f"{url}/hostname").text == "pod-b"
    except OSError:
        return False


@pytest.mark.lab("calico-two-node", proxy_mode="none")
def test_a_real_kube_proxy_serves_a_node(lab: RunningLab, tmp_path: Path) -> None:
    node, pod, service = lab.node("node2"), lab.pod("pod-d"), "10.103.9.116:8080"
    assert lab.sh("node2", "iptables-save | grep -c KUBE- || true") == "0"
    assert not is_served(pod, service)
    with running(lab, node, tmp_path / "log"):
        lab.wait(lambda: "KUBE-SEP-" in lab.sh("node2", "iptables-save -t nat"), 30)
        lab.wait(lambda: is_served(pod, service))
        assert is_served(lab.client(), "192.168.59.23:31080")
        assert is_served(node, service)
        # What is not ours is shown and left alone.
        assert lab.diff() == []
        assert lab.mend() == []
        assert is_served(pod, service)
    # What it wrote stays when it ends, as on a node.
    assert is_served(pod, service)
