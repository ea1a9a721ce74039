"""What predict.py does: one video, or the pass over a list; and what it leaves of them."""
