"""Netlink: batches of messages, TUN devices, neighbours, and everything that a namespace shows (pyroute2)."""
