"""What not every user runs: the page and endpoint, clusters, the doctor. Each is imported by its own command alone."""
