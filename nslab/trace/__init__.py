"""A packet's path, computed from the State: the objects it needs, hop by hop, and those that are missing."""
