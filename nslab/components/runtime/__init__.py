"""The base of all components: an event loop, line-based sockets, namespaces, the spawner that forks them."""
