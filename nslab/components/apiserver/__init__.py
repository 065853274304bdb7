"""The API server's part: who puts Services there, and who watches them."""
