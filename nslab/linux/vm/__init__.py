"""A second kernel: User-Mode Linux."""
