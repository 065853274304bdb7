"""CNI plugins at work on a node."""
