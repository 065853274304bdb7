"""NetworkPolicy as Calico's Felix writes it into a node: chains of iptables and sets of addresses (pure).

    items = felix.items(cluster, node)      # the chains, jumps and sets of one node (nslab.ruletext.items)
    render.render(items)                    # as text
    change.commands(before, items, program) # what differs, for a node that has `before`

All of it imports only the standard library, because a node's process will have nothing else.
"""
