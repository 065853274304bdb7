"""Felix: watches the API server and writes a node's policies."""
