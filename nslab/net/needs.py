"""What a machine can do, and what a lab needs of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Host:
    """What was learnt of this machine before compiling; read once, so that a plan cannot change its mind.

    `ipip`: the driver is there. `ipip_born`: it puts a tunl0 into every namespace (the kernel's default).
    `bridge_netfilter`: br_netfilter is there, so bridged packets can pass iptables, and do unless told otherwise.
    `conntrack`: connection tracking has its settings under /proc/sys already.
    `iptables`: the program whose rules this kernel takes: `iptables` itself wherever possible, so that what a learner
    lists is what we wrote.
    """

    ipip: bool = True
    ipip_born: bool = True
    bridge_netfilter: bool = True
    conntrack: bool = True
    iptables: str = "iptables"


FULL = Host()
"""A machine with everything: what `plan` assumes where it may not look."""
