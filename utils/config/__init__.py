"""Read YAML and flags into a checked configuration. Nothing here imports paddle, so `--help` is instant."""
