"""Bytes that go over sockets (pure): netlink, DNS, HTTP."""
