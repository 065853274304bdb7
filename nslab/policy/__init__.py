"""NetworkPolicy as Calico's Felix writes it into a node: chains of iptables and sets of addresses (pure).

    items = felix.items(cluster, node)      # the chains, jumps and sets of one node (nslab.ruletext.items)
    print(render.render(items))             # as text

All of it imports only the standard library, because a node's process will have nothing else.
"""
