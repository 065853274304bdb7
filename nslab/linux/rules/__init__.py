"""Rules and sets, as the restore programs take them."""
