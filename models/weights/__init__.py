"""Files of weights: their formats, the names of each family, download, and loading into a model."""
