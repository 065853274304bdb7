"""kube-proxy's decisions (pure): from Services and endpoints to the kernel items of one node, in any mode."""
