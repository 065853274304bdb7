"""Netlink: batches of messages, what is there by name, TUN devices, neighbours; in words, and whole (pyroute2)."""
