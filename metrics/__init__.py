"""Numbers alone: sums and counts in, accuracies out."""
