"""Probes with real packets, and their results."""
