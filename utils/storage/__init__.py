"""Files, local and in object storage: whole or not there, locked, told apart, copied."""
