"""The only side effects: this machine's kernel, its processes and files."""
