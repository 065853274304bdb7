"""The kernel's nouns and verbs: what can exist, how it differs, and how it is said."""
