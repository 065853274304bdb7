"""The features of a machine, and those that a lab needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.dataclass import dataclass
from nslab.errors import Missing

if TYPE_CHECKING:
    from nslab.cni.chain import Program
    from nslab.objects.base import State


@dataclass(frozen=True, slots=True)
class HostFeatures:
    """The features of this machine, read once before compiling, so that one plan sees one machine.

    `ipip`: the driver is available. `ipip_fallback`: it creates its fallback device, tunl0, in every namespace.
    `bridge_netfilter`: br_netfilter is loaded, so bridged packets traverse iptables unless a sysctl disables that.
    `conntrack`: the sysctls of connection tracking exist under /proc/sys.
    `ip_vs`: the drivers of IPVS and of dummy interfaces are available. `sctp`: that protocol is.
    `iptables`: the variant whose rules this kernel accepts: `iptables` itself wherever possible, so that a user who
    lists rules sees nslab's.
    `programs`: the CNI plugins that a lab uses, as found on disk. `bird`: the path of BIRD, if a lab runs it.
    """

    ipip: bool = True
    ipip_fallback: bool = True
    bridge_netfilter: bool = True
    conntrack: bool = True
    ip_vs: bool = True
    sctp: bool = True
    iptables: str = "iptables"
    programs: tuple[tuple[str, Program], ...] = ()
    bird: str = "bird"


UNPACKED_BIRD = "/var/cache/nslab/bird/bird"
"""Where scripts/bird puts BIRD."""
FULL = HostFeatures()
"""A machine with all features."""


def demand(mode: str, host: HostFeatures) -> None:
    """Raise Missing, with the alternatives, if this machine lacks a proxy mode's drivers: IPVS has no stand-in."""
    if mode == "ipvs" and not host.ip_vs:
        raise Missing(
            "proxy mode ipvs needs the drivers ip_vs and dummy, and this kernel has not loaded both; "
            "load them (modprobe -a ip_vs dummy), choose another mode (--proxy-mode iptables), "
            "or run the lab under a kernel that has them (nslab vm)"
        )


@dataclass(frozen=True, slots=True)
class Primitive:
    """A feature that a kernel may lack. It works if the commands `trial` succeed in a temporary namespace.

    A trial that ends in `.py` is a file in nslab/components/kubelet. One that begins with `/` is a path, or a choice of
    paths, and works if one of them exists.

    `modules`: these must be loaded (or built in) before the trial, which would otherwise load them into the machine.
    `instead`: what nslab does, or the user can do, without it.
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
    Primitive("iptables", "masquerading, Services, policies", (), ("iptables -t nat -A POSTROUTING -j MASQUERADE",)),
    Primitive(
        "iptables-legacy",
        "machines of that variant",
        ("ip_tables", "iptable_nat"),
        ("iptables-legacy -t nat -A POSTROUTING -j MASQUERADE",),
        "iptables-nft",
    ),
    Primitive(
        "rpfilter, CT, multiport",
        "Calico's Felix",
        ("xt_rpfilter", "xt_CT", "xt_multiport"),
        (
            "iptables -t raw -A PREROUTING -m rpfilter --validmark --invert -j DROP",
            "iptables -t raw -A OUTPUT -p udp -m multiport --dports 4789 -j CT --notrack",
        ),
        "cni: {dataplane: nftables}, another plugin, or nslab vm",
    ),
    Primitive("ipset", "Calico's Felix, IPVS", ("ip_set", "ip_set_hash_net"), ("ipset create t hash:net",)),
    Primitive("conntrack", "every NAT", (), ("conntrack -L",)),
    Primitive(
        "nftables nat",
        "the nftables proxy mode and dataplane",
        (),
        ("nft add table ip t", "nft add chain ip t c { type nat hook postrouting priority 100 ; }"),
        "another proxy mode, cni: {dataplane: iptables}",
    ),
    Primitive(
        "nftables fib",
        "Calico's Felix in nftables",
        (),
        (
            "nft add table ip t",
            "nft add chain ip t d { type filter hook prerouting priority -300 ; }",
            "nft add rule ip t d fib saddr . mark . iif oif 0 drop",
            "nft add rule ip t d notrack",
        ),
        "cni: {dataplane: iptables}",
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
    Primitive(
        "BIRD",
        "cni: {bgp: bird}",
        (),
        (f"/usr/sbin/bird {UNPACKED_BIRD}",),
        "scripts/bird, which starts no service",
    ),
    Primitive("User-Mode Linux", "nslab vm", (), ("linux.uml --version",), "-"),
)
"""Everything that `doctor` tries, in the order of its output."""


def needs(state: State) -> set[str]:
    """The names of the primitives that a state needs."""
    return {name for obj in state for name in obj.primitives} | {"network namespaces"}
