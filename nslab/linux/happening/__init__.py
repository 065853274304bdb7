"""Put what the kernel tells of namespaces, as it happens, into words."""
