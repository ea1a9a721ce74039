"""Sums and counts in, accuracies out; and the files that evaluation and prediction write."""
