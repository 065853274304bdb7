"""Programs of ours that containers run: agnhost, kube-dns, and a stand-in for all others."""
