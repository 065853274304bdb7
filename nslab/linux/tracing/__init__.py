"""Watches one packet and its reply: at every interface, and in every chain by the kernel's own trace."""
