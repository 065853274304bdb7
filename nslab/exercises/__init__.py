"""Exercises: the goals of a lab's check.yaml, the probes that test them, and the verdict."""
