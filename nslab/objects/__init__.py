"""The kernel's objects and verbs: what can exist, how it differs, and how it is said.

One module a family, with everything about its kinds: namespaces, links, tunnels, ports, inet, neighbours, sysctl,
ipset, iptables, ipvs, nft (and nft_listing), process, container, attachment. What knows no kind: base (what each kind
says of itself, and the verbs), netlink, plan, script, needs, and the kernel in memory, fake.
"""
