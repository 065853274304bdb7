"""All paths in a lab's folder, /run/nslab/LAB, relative to it.

lab.yaml check.yaml          the desired state, and an exercise's goals
reached                      the goals that a check found reached
ns/NETNS                     names of namespaces
pods/HOST/                   files that a pod sees as its own in /etc
nodes/HOST.sock              the socket of its nslab-node; and beside it
      HOST.pids  .journal  .status.json    its children, the requests to run, the status of its pods
      HOST/nslab-node.log  log/  fs/       its own log, its pods' logs, its file system's changes
      HOST/bird/bird.conf bird.ctl bird.pid    the files of its BIRD
control.sock control.json    the socket of control, and its state for a restart
dns/records.json             the records of kube-dns
controllers  events.json     the process of the controllers: its pid and its start; what controllers did
cni/                         the results of CNI plugins
pids spawner-PID.pids        the children of the spawner, and of `up`
xtables.lock                 iptables' lock
"""

from __future__ import annotations

ROOT = "/run/nslab"
NAMES, NODES, PODS, CNI = "ns", "nodes", "pods", "cni"
STARTED = "pids"
XTABLES_LOCK = "xtables.lock"
REACHED = "reached"
CONTROLLERS, EVENTS = "controllers", "events.json"
CONTROL_SOCKET, CONTROL_STATE, CONTROL_LOG = "control.sock", "control.json", "nslab-control.log"
DNS, DNS_RECORDS = "dns", "dns/records.json"

SOCKET, PIDS, JOURNAL, STATUS = ".sock", ".pids", ".journal", ".status.json"
"""Suffixes of file names beside a node's folder."""
BIRD, BIRD_CONFIG, BIRD_SOCKET, BIRD_PID = "bird", "bird.conf", "bird.ctl", "bird.pid"
NODE_LOG, POD_LOGS, LINKS, FILES = "nslab-node.log", "log/pods", "log/containers", "fs"
"""Names in a node's folder."""
LINKS_TO_LOGS = "../pods"
"""The relative path from LINKS to POD_LOGS."""


def node(host: str, what: str = "") -> str:
    """A node's folder, or (with a suffix) a file beside it."""
    return f"{NODES}/{host}{what}"


def pod(host: str) -> str:
    """The folder of a pod's own files."""
    return f"{PODS}/{host}"


def spawned(pid: int) -> str:
    """The pid file of one call of `up` for its spawner."""
    return f"spawner-{pid}{PIDS}"


def container_logs(host: str, pod_folder: str, container: str) -> str:
    """The folder of a container's logs on a node."""
    return f"{node(host)}/{POD_LOGS}/{pod_folder}/{container}"
