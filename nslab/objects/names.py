"""Names and link-layer addresses: derived by hash, stable, within the kernel's limits."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

IFNAMSIZ = 15  # bytes of a name, without the terminating NUL
SWITCH = "switch"
"""The host that represents the node network: a bridge with the gateway's address."""
CONTROL = "control"
"""The host of the lab's own process (API server and endpoints controller)."""
RESERVED = (SWITCH, CONTROL)


def netns(lab: str, host: str) -> str:
    """The namespace of a host, as `ip netns` lists it. A lab's name contains no dot, so it is unambiguous."""
    return f"nslab.{lab}.{host}"


def host(ns: str) -> str:
    """The host that a namespace represents."""
    return ns.split(".", 2)[-1]


def pod_host(namespace: str, pod: str) -> str:
    """The host name of a pod: its own name in `default`, else NAMESPACE_POD (no Kubernetes name has an underscore)."""
    return pod if namespace == "default" else f"{namespace}_{pod}"


def host_of(word: str) -> str:
    """The host that a person names: a pod may be NAMESPACE/POD."""
    namespace, slash, pod = word.partition("/")
    return pod_host(namespace, pod) if slash else word


def namesake(word: str, hosts: Iterable[str]) -> str:
    """NAMESPACE/POD of the first pod of that name in another namespace; "" if there is none."""
    return next((host.replace("_", "/", 1) for host in hosts if word and host.partition("_")[2] == word), "")


def ifname(*parts: str) -> str:
    """A stable interface name within the kernel's 15 bytes."""
    whole = "-".join(parts)
    digest = hashlib.sha256(whole.encode()).hexdigest()
    return whole if len(whole) <= IFNAMSIZ else f"{whole[:8]}-{digest[:6]}"


def cali(namespace: str, pod: str) -> str:
    """The node's end of a pod's link: `cali` and 11 hex digits of SHA-1("namespace.pod") (Calico)."""
    return "cali" + hashlib.sha1(f"{namespace}.{pod}".encode()).hexdigest()[:11]


def kubenet_veth(namespace: str, pod: str) -> str:
    """The node's end of a pod's link: `veth` and 8 hex digits (random in the CNI bridge plugin, derived here)."""
    return "veth" + hashlib.sha256(f"{namespace}.{pod}".encode()).hexdigest()[:8]


def mac(*parts: str) -> str:
    """A stable, locally administered unicast address."""
    digest = hashlib.sha256("-".join(parts).encode()).digest()
    return ":".join(f"{byte:02x}" for byte in (digest[0] & 0xFC | 0x02, *digest[1:6]))


def vtep_mac(node: str) -> str:
    """The address of a node's vxlan.calico: 0x66 and the first 5 bytes of SHA-1(node) (Calico)."""
    return ":".join(f"{byte:02x}" for byte in (0x66, *hashlib.sha1(node.encode()).digest()[:5]))
