"""Files, local and in object storage: written whole or not at all, locked, identified, copied."""
