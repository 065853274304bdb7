"""What controllers decide (pure)."""
