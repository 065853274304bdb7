"""The built-in images: agnhost and kube-dns."""
