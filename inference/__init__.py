"""Networks ready to answer: eager, or exported."""
