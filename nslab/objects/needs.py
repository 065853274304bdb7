"""What a machine can do, and what a lab needs of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.dataclass import dataclass
from nslab.errors import Missing

if TYPE_CHECKING:
    from nslab.cni.chain import Program
    from nslab.objects.base import State


@dataclass(frozen=True, slots=True)
class Host:
    """What was learnt of this machine before compiling; read once, so that a plan cannot change its mind.

    `ipip`: the driver is there. `ipip_born`: it puts a tunl0 into every namespace (the kernel's default).
    `bridge_netfilter`: br_netfilter is there, so bridged packets can pass iptables, and do unless told otherwise.
    `conntrack`: connection tracking has its settings under /proc/sys already.
    `ip_vs`: the drivers of IPVS and of dummy interfaces are there. `sctp`: that protocol is.
    `iptables`: the program whose rules this kernel takes: `iptables` itself wherever possible, so that what a learner
    lists is what we wrote.
    `programs`: the CNI plugins that a lab names, as they lie on the disk.
    """

    ipip: bool = True
    ipip_born: bool = True
    bridge_netfilter: bool = True
    conntrack: bool = True
    ip_vs: bool = True
    sctp: bool = True
    iptables: str = "iptables"
    programs: tuple[tuple[str, Program], ...] = ()


FULL = Host()
"""A machine with everything."""


def demand(mode: str, host: Host) -> None:
    """Raise Missing, with the ways on, if a proxy mode cannot be had here: IPVS has no stand-in."""
    if mode == "ipvs" and not host.ip_vs:
        raise Missing(
            "proxy mode ipvs needs the drivers ip_vs and dummy, and this kernel has not loaded both; "
            "load them (modprobe -a ip_vs dummy), choose another mode (--proxy-mode iptables), "
            "or run the lab under a kernel that has them (nslab vm)"
        )


@dataclass(frozen=True, slots=True)
class Primitive:
    """One thing that a kernel may lack. `trial` is typed in a throw-away namespace; it works if that works.

    A trial that ends in `.py` is a file of ours, in nslab/components/kubelet; one that begins with `/` is a path, or
    several between which one may choose, and it works if there is something.

    `modules`: what must be loaded (or built in) before it is tried, since trying would load it into the whole machine.
    `instead`: what nslab does, or you can do, without it.
    """

    name: str
    use: str
    modules: tuple[str, ...]
    trial: tuple[str, ...]
    instead: str = "nslab vm"


PRIMITIVES = (
    Primitive("network namespaces", "every host", (), ("ip link set lo up",)),
    Primitive("mount, uts, ipc and pid namespaces", "pods", (), ("unshare -muipf true",)),
    Primitive("seccomp", "containers", (), ("try_seccomp.py",), "containers run without a filter of system calls"),
    Primitive("control groups", "containers' limits", (), ("try_limits.py",), "mount cgroup2 with pids and memory"),
    Primitive("veth", "every cable", ("veth",), ("ip link add t0 type veth peer name t1",)),
    Primitive("bridge", "the node network, kubenet", ("bridge",), ("ip link add t2 type bridge",)),
    Primitive("br_netfilter", "kubenet's Services", ("br_netfilter",), ("/proc/sys/net/bridge",), "left out"),
    Primitive(
        "ipip", "Calico's IPIP", ("ipip",), ("ip link add t3 type ipip remote 127.0.0.2",), "a TUN and a process"
    ),
    Primitive("tun", "IPIP without its driver", ("tun",), ("ip tuntap add dev t4 mode tun",)),
    Primitive("vxlan", "Calico's VXLAN", ("vxlan",), ("ip link add t5 type vxlan id 9 dstport 4789 local 127.0.0.1",)),
    Primitive("dummy", "IPVS's kube-ipvs0", ("dummy",), ("ip link add t6 type dummy",), "another proxy mode"),
    Primitive("iptables", "masquerading, Services", (), ("iptables -t nat -A POSTROUTING -j MASQUERADE",)),
    Primitive(
        "iptables-legacy",
        "machines of that variant",
        ("ip_tables", "iptable_nat"),
        ("iptables-legacy -t nat -A POSTROUTING -j MASQUERADE",),
        "iptables-nft",
    ),
    Primitive("ipset", "Calico's natOutgoing, IPVS", ("ip_set", "ip_set_hash_net"), ("ipset create t hash:net",)),
    Primitive("conntrack", "every NAT", (), ("conntrack -L",)),
    Primitive(
        "nftables nat",
        "the nftables proxy mode",
        (),
        ("nft add table ip t", "nft add chain ip t c { type nat hook postrouting priority 100 ; }"),
        "another proxy mode",
    ),
    Primitive("ip_vs", "the IPVS proxy mode", ("ip_vs",), ("ipvsadm -A -t 127.0.0.1:80 -s rr",), "another proxy mode"),
    Primitive("sctp", "Services of that protocol", ("sctp",), ("/proc/thread-self/net/sctp",)),
    Primitive("netem", "delay and loss", ("sch_netem",), ("tc qdisc add dev lo root netem delay 1ms",), "left out"),
    Primitive(
        "CNI plugins",
        "cni: {plugin: exec}",
        (),
        ("/usr/lib/cni /usr/libexec/cni /opt/cni/bin",),
        "apt install containernetworking-plugins, or plugins of your own (--plugin)",
    ),
    Primitive("User-Mode Linux", "nslab vm", (), ("linux.uml --version",), "-"),
)
"""Everything that `doctor` tries, in the order in which it tells it."""


def needs(state: State) -> set[str]:
    """The names of the primitives that a state is made of."""
    return {name for obj in state for name in obj.primitives} | {"network namespaces"}
