"""What a node's rules do to one packet: iptables, ipset and nft as their programs print them, evaluated (pure).

    ruleset = read(iptables_save, ipset_save, nft_json)     # ruleset.py; of a State: from_state.py
    for outcome in evaluate(ruleset, packet, "PREROUTING", addresses): ...

Routing lies between the hooks, and is the caller's: it gives the packet its `oif` before FORWARD, OUTPUT and
POSTROUTING, takes one from its TTL before FORWARD, and replaces `masquerade` by a source. So is conntrack: it gives the
packet its state, and translates replies. What a rule asks that nobody can know (u32, a clock, a counter) is a doubt:
both branches are outcomes, without a chance, with its name.
"""
