"""Share a list among many machines: cut it into shards, compute them on workers, join the parts to one run."""
