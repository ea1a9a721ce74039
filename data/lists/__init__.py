"""The parts of data/make_lists.py: find clips, name their classes, split them into lists, configure their training."""
