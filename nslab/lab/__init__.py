"""The lab file: its documents, their defaults, and what they mean as values. Pure: it depends on the file alone."""
