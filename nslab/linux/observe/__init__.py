"""What is there, and what this machine can do."""
