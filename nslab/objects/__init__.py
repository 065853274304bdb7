"""Kernel objects and the steps on them: what can exist, how states differ, and the commands and messages for it.

Each family has one module with everything about its kinds: namespaces, links, tunnels, ports, inet, neighbours,
sysctl, ipset, iptables, ipvs, nft (and nft_listing), process, container, attachment. These know no kind: base (the
interface of a kind, and the steps), netlink, plan, script, needs, and the kernel in memory, fake.
"""
