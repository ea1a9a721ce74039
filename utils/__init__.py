"""One topic per file: configuration, flags, checkpoints, logs, downloads, errors."""
