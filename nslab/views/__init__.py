"""Pictures and tables of what is wished and what is there: text from values, nothing else."""
