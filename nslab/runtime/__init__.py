"""What a lab's processes share with nslab, which starts, finds and ends them: marks, journals, mounts, cgroups."""
