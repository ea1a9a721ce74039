"""Predict one video or a list, evaluate lists, and write the results."""
