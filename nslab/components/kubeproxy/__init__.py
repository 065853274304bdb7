"""kube-proxy: watches the API server and writes a node's rules; in userspace mode it carries the traffic."""
