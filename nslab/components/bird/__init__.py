"""BIRD, the routing daemon of a Calico node."""
