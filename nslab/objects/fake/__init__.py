"""The kernel in memory."""
