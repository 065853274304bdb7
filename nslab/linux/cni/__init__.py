"""Running CNI plugins on a node."""
