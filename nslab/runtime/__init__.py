"""What every process of a lab goes by, and who starts, finds and ends it: marks, journals, mounts, control groups."""
