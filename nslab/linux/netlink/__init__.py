"""Netlink: batches of messages, TUN devices, neighbours, netfilter, sockets; a whole namespace (pyroute2)."""
