"""What happens to a manifest before it counts: it is read, defaulted, validated, warned about, or refused."""
