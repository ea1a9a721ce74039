"""A list shared by many machines: shards of it, workers that compute them, and one run made of their parts."""
