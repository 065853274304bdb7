"""All side effects: on this machine's kernel, its processes and its files."""
