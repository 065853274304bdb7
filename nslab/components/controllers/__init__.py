"""The decisions of controllers (pure)."""
