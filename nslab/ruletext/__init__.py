"""Texts that programs take (pure): iptables-restore, ipvsadm, nft, and the items that they are made of."""
