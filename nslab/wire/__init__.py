"""Formats of bytes on sockets and in files (pure): netlink, DNS, HTTP, ICMP, CRI logs."""
