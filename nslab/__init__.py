"""nslab rebuilds Kubernetes' network on one Linux machine out of the kernel's own primitives."""
