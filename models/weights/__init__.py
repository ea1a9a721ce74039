"""Files of weights: formats, the names of each family, download, and loading into a model."""
