"""The capabilities of this machine, found out in a throwaway namespace."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from nslab.errors import Missing
from nslab.linux.netlink import batch as netlink
from nslab.linux.packages import how_to_install
from nslab.linux.rules import restore
from nslab.objects.needs import HostFeatures

if TYPE_CHECKING:
    from nslab.linux.netns import Namespaces

_NAT = "*nat\n-A POSTROUTING -j MASQUERADE\nCOMMIT\n"
_VARIANTS = ("iptables", "iptables-legacy", "iptables-nft")


def read_host(spaces: Namespaces) -> HostFeatures:
    """Read the capabilities once; the compiler gets them as a value and never looks itself."""
    with spaces.throwaway() as sock:
        iptables = working_iptables()
        fallback = "tunl0" in netlink.links(sock)
        return HostFeatures(
            ipip=fallback or driver("ipip"),
            ipip_fallback=fallback,
            bridge_netfilter=os.path.exists("/proc/sys/net/bridge/bridge-nf-call-iptables"),
            conntrack=os.path.exists("/proc/sys/net/netfilter/nf_conntrack_acct"),
            ip_vs=driver("ip_vs") and driver("dummy"),
            sctp=driver("sctp"),
            iptables=iptables,
        )


def likely_host() -> HostFeatures:
    """The capabilities as far as they are known without root, for a plan that is only printed."""
    return HostFeatures(
        ipip=driver("ipip"),
        ipip_fallback=os.path.exists("/sys/class/net/tunl0"),
        bridge_netfilter=os.path.exists("/proc/sys/net/bridge/bridge-nf-call-iptables"),
        conntrack=os.path.exists("/proc/sys/net/netfilter/nf_conntrack_acct"),
        ip_vs=driver("ip_vs") and driver("dummy"),
        sctp=driver("sctp"),
    )


def driver(name: str) -> bool:
    """Whether a driver is loaded or built in. (A trial could load it into the machine's kernel.)"""
    if os.path.exists(f"/sys/module/{name}"):
        return True
    builtin = Path(f"/lib/modules/{os.uname().release}/modules.builtin")
    return builtin.exists() and f"/{name}.ko" in builtin.read_text()


def working_iptables() -> str:
    """The first variant of iptables whose nat table works in this thread's namespace; Missing without one."""
    for variant in _VARIANTS:
        try:
            argv = [restore.program(f"{variant}-restore"), "--noflush"]
        except Missing:
            continue
        environment = restore.environment()
        if not subprocess.run(
            argv, input=_NAT, text=True, capture_output=True, env=environment, check=False
        ).returncode:
            return variant
    raise Missing(f"no iptables works on this kernel; {how_to_install('iptables')}, or try `nslab vm`")
