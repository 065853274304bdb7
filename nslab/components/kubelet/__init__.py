"""nslab-node, a node's kubelet and container runtime: pods, containers, their probes, logs and commands."""
