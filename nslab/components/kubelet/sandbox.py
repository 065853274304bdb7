"""The sandbox of a pod: its files, and the pause process, which holds the pod's namespaces and reaps orphans."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal.sigwait` would make an enum member in each pod
import contextlib
import os
import signal
import socket

from nslab import rundir, syscall
from nslab.components.kubelet import fdstore
from nslab.components.runtime import volumes
from nslab.components.runtime.node_context import IPC, MNT, NET, PID, UTS, NodeContext, host_of
from nslab.components.runtime.rootfs import NAMESPACE
from nslab.runtime.folders import make_tree
from nslab.runtime.marks import VARIABLE, Memory, mark

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from nslab.components.kubelet.fdstore import Store
    from nslab.components.runtime.volumes import Volume
    from nslab.runtime.trust import Births

NAMED = "/run/netns"
AWAITED = frozenset(map(int, (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)))
_CHILD = int(signal.SIGCHLD)
_block, _unblock = (syscall.ready_sigmask(how, AWAITED) for how in (signal.SIG_BLOCK, signal.SIG_UNBLOCK))


class PodSandbox:
    """A pod on its node: the fields of nslab.objects.container.Sandbox, with its pause process and store.

    `network`: the name of its network namespace, which with hostNetwork is its node's.
    """

    def __init__(
        self,
        ns: str,
        namespace: str,
        pod: str,
        uid: str,
        hostname: str,
        address: str,
        share_pid: bool,
        pid: int = 0,
        network: str = "",
    ) -> None:
        self.ns, self.namespace, self.pod, self.uid = ns, namespace, pod, uid
        self.network = network or ns
        self.hostname, self.address, self.share_pid, self.pid = hostname, address, share_pid, pid
        self.store: Store | None = None

    @property
    def host_network(self) -> bool:
        """Whether it uses its node's network and hostname."""
        return self.network != self.ns

    @property
    def log_folder(self) -> str:
        """The folder of its containers' logs, as the kubelet names it."""
        return f"{self.namespace}_{self.pod}_{self.uid}"

    def close(self) -> None:
        """Close its store."""
        if self.store:
            self.store.close()

    def kept(self) -> dict[str, Any]:
        """The fields that the node's journal keeps."""
        names = ("namespace", "pod", "uid", "hostname", "address", "share_pid", "network")
        return {name: getattr(self, name) for name in names}


def write_files(
    context: NodeContext, sandbox: PodSandbox, resolv_conf: str, domain: str = "", aliases: str = ""
) -> None:
    """Write the files that the pod's containers see in /etc, as the kubelet does."""
    folder = f"{context.run}/{rundir.pod(host_of(sandbox.ns))}"
    make_tree(folder)
    os.chmod(folder, 0o755)  # noqa: S103 - a container's user need not be root
    hosts = f"{_node_hosts(sandbox) if sandbox.host_network else _pod_hosts(sandbox, domain)}{aliases}"
    names = ("hosts", "hostname", "resolv.conf", NAMESPACE)
    for name, text in zip(names, (hosts, f"{sandbox.hostname}\n", resolv_conf, sandbox.namespace), strict=True):
        fd = os.open(f"{folder}/{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.fchmod(fd, 0o644)
        os.write(fd, text.encode())
        os.close(fd)


def _pod_hosts(sandbox: PodSandbox, domain: str) -> str:
    full = f"{sandbox.hostname}.{domain}\t" if domain else ""
    return (
        "# Kubernetes-managed hosts file.\n"
        "127.0.0.1\tlocalhost\n"
        "::1\tlocalhost ip6-localhost ip6-loopback\n"
        "fe00::0\tip6-localnet\n"
        "fe00::0\tip6-mcastprefix\n"
        "fe00::1\tip6-allnodes\n"
        "fe00::2\tip6-allrouters\n"
        f"{sandbox.address}\t{full}{sandbox.hostname}\n"
    )


def _node_hosts(sandbox: PodSandbox) -> str:
    """The file of the pod's node, which has nothing of the machine's own."""
    return (
        "# Kubernetes-managed hosts file (host network).\n"
        "127.0.0.1\tlocalhost\n"
        "::1\tlocalhost ip6-localhost ip6-loopback\n"
        f"{sandbox.address}\t{sandbox.hostname}\n"
    )


def name_netns(sandbox: PodSandbox) -> None:
    """Name the pod's network namespace in the node's own /run/netns, where container runtimes keep theirs.

    So `ip netns` and `ip link set … netns NAME` work inside a node as on a real one. It is a symlink to /proc instead
    of a mount, so it does not keep the namespace alive. A pod in the node's network has no namespace to name.
    """
    make_tree(NAMED)
    unname_netns(sandbox)
    if sandbox.host_network:
        return
    os.symlink(f"/proc/{sandbox.pid}/ns/net", f"{NAMED}/{host_of(sandbox.ns)}")


def unname_netns(sandbox: PodSandbox) -> None:
    """Remove the name of the pod's network namespace."""
    try:
        os.unlink(f"{NAMED}/{host_of(sandbox.ns)}")
    except FileNotFoundError:
        return


def start(
    context: NodeContext, memory: Memory, births: Births, sandbox: PodSandbox, mounted: Sequence[Volume] = ()
) -> int:
    """Fork the pause process of a pod, in the pod's namespaces and without the machine's files; return its pid.

    It keeps all capabilities, so that containers in the same pid namespace cannot inspect it.
    `mounted`: the pod's volumes, which live in its mount namespace.
    """
    kinds = (NET, UTS, IPC, PID) if sandbox.share_pid else (NET, UTS, IPC)
    uts = 0 if sandbox.host_network else UTS
    process_title = memory.process_title("pause", {VARIABLE: mark(sandbox.ns, "pause")})

    store = sandbox.store = fdstore.new()

    def child() -> None:
        memory.wear(process_title)
        pause(store.queue, store.door)

    # Blocked before the fork: pause waits for signals itself, and none must reach the node's handlers in it.
    _block()
    try:
        context.enter(sandbox.network)
        syscall.unshare(uts | IPC | (PID if sandbox.share_pid else 0))
        if uts:
            socket.sethostname(sandbox.hostname)
        return births.fork(sandbox.ns, "pause", child, sandbox.kept(), _furnished(context, memory, mounted))
    except BaseException:
        sandbox.close()
        raise
    finally:
        context.come_home(*kinds)
        _unblock()


@contextlib.contextmanager
def _furnished(context: NodeContext, memory: Memory, mounted: Sequence[Volume]) -> Iterator[None]:
    """Give processes that are forked in here the name `pause`, and the template's tree as their root.

    Both before the fork, because everything that a pause process does itself takes memory in each pod.
    """
    before = memory.rename(b"pause")
    try:
        context.template.visit()
        if mounted:
            syscall.unshare(MNT)
            volumes.make(mounted)
        yield
    finally:
        context.come_home(MNT)
        memory.rename(before)


def pause(queue: int, door: int) -> None:
    """Hold the namespaces and both ends of the store, reap orphans, and exit on SIGINT or SIGTERM. Never returns.

    It does as little as possible: each page that Python writes to after the fork takes memory in this pod.
    """
    os.dup2(queue, fdstore.QUEUE)
    os.dup2(door, fdstore.DOOR)  # safe after the first dup2: the door has the higher number
    os.closerange(fdstore.DOOR + 1, 1 << 20)
    while True:
        number = _signal.sigwait(AWAITED)
        if number != _CHILD:
            os.write(1, b"Shutting down, got signal: %d\n" % number)
            os._exit(0)
        _reap()


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
