"""Objects of Kubernetes' API: how they are written, what they look like, and the API server's sentences. Pure."""
