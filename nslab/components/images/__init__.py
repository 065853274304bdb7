"""The built-in images: agnhost, kube-dns, and a stand-in for all others."""
