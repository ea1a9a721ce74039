"""How data/check.py looks at the videos of lists, and what it finds."""
