"""The lab file: reading, defaults and validation. Pure: it depends on the file alone, not on the machine."""
