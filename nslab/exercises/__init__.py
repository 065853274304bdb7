"""Exercises: goals that a lab's check.yaml names, the questions that tell whether each is reached, and the verdict."""
