"""The parts of data/check.py: read the videos of lists, and report what is wrong with them."""
