"""The training run: its loop, its validation, its checkpoints, what it starts from and when it stops."""
