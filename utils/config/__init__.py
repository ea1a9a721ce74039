"""From a YAML file and flags to a checked configuration. Nothing here imports paddle: `--help` is instant."""
