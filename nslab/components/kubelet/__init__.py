"""nslab-node, a node's kubelet and container runtime: pods, containers, probes, logs, exec."""
