"""The parts of data/reencode.py: re-encode videos in parallel, and remember what each copy was made of."""
