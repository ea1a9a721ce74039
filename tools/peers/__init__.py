"""Configurations and lists of PaddleVideo and mmaction2, written as ours."""
