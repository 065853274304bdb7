"""Write rules and sets with the restore programs."""
