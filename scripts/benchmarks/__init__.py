"""What nslab costs, beside the other ways to build the same thing. `scripts/bench TOPIC` runs a topic."""
