"""How data/make_lists.py finds clips, names their classes, deals them to lists, and configures their training."""
