"""kube-proxy: watches the API server and keeps a node's rules; in userspace mode it carries the traffic."""
