"""A packet's way, computed from the State: what it needs, hop by hop, and what of that is missing."""
