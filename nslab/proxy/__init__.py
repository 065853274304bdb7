"""kube-proxy's decisions (pure): from Services and their endpoints to what one node's kernel must have, in any mode."""
