"""Input texts of iptables-restore, ipvsadm and nft, and the items that they are made of (pure)."""
