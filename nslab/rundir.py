"""Every path in a lab's folder, /run/nslab/LAB, is named here; all are relative to it.

lab.yaml check.yaml          what is wanted, and an exercise's goals
ns/NETNS                     names of namespaces
pods/HOST/                   files that a pod sees as its own in /etc
nodes/HOST.sock              where its nslab-node listens; and beside it
      HOST.pids  .journal  .status.json    whom it started, what it was asked to run, how its pods are
      HOST/nslab-node.log  log/  fs/       its own log, its pods' logs, what is written on its file system
control.sock control.json    where control listens, and what it must know after it was killed
dns/records.json             what kube-dns answers from
cni/                         what CNI plugins made
pids spawner-PID.pids        whom the spawner, and `up`, started
xtables.lock                 iptables' lock
"""

from __future__ import annotations

ROOT = "/run/nslab"
NAMES, NODES, PODS, CNI = "ns", "nodes", "pods", "cni"
STARTED = "pids"
XTABLES_LOCK = "xtables.lock"
CONTROL_SOCKET, CONTROL_STATE, CONTROL_LOG = "control.sock", "control.json", "nslab-control.log"
DNS, DNS_RECORDS = "dns", "dns/records.json"

SOCKET, PIDS, JOURNAL, STATUS = ".sock", ".pids", ".journal", ".status.json"
"""Ends of names beside a node's folder."""
NODE_LOG, POD_LOGS, LINKS, FILES = "nslab-node.log", "log/pods", "log/containers", "fs"
"""Names in a node's folder."""
LINKS_TO_LOGS = "../pods"
"""The way from LINKS to POD_LOGS."""


def node(host: str, what: str = "") -> str:
    """A node's folder, or (with an end of a name) the file beside it."""
    return f"{NODES}/{host}{what}"


def pod(host: str) -> str:
    """The folder of a pod's own files."""
    return f"{PODS}/{host}"


def spawned(pid: int) -> str:
    """The journal of one call of `up` about its spawner."""
    return f"spawner-{pid}{PIDS}"


def container_logs(host: str, pod_folder: str, container: str) -> str:
    """The folder of a container's logs on a node."""
    return f"{node(host)}/{POD_LOGS}/{pod_folder}/{container}"
