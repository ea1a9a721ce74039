"""The training run: its loop, its validation, what it saves and when."""
