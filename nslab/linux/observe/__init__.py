"""Observe the kernel's objects, and the capabilities of this machine."""
