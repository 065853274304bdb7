"""Programs of ours that containers run: agnhost, kube-dns."""
