"""Netlink: batches of messages, TUN devices, neighbours, and a namespace's whole network (pyroute2)."""
