"""How data/reencode.py copies videos."""
