"""Train a network: the loop, validation, checkpoints, the starting point, and when a run stops."""
