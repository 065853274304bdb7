"""The cost of nslab, compared with other ways to build the same. `scripts/bench TOPIC` runs a topic."""
