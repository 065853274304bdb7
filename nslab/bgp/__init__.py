"""BGP by BIRD 2: the configurations that confd writes for Calico's BIRD 1.6, and what BIRD answers. Pure."""
