"""What a node's rules do to one packet: iptables, ipset and nft as their programs print them, evaluated (pure).

    ruleset = read(iptables_save, ipset_save, nft_json)
    for outcome in evaluate(ruleset, packet, "PREROUTING", addresses): ...

Routing lies between the hooks, and is the caller's: it gives the packet its `oif` before FORWARD, OUTPUT and
POSTROUTING, and replaces `masquerade` by a source. So is conntrack: it gives the packet its state.
"""
