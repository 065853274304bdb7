"""Objects of the Kubernetes API: their YAML, their schema, and the API server's error messages. Pure."""
