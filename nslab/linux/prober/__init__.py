"""Questions asked with real packets, and their answers."""
