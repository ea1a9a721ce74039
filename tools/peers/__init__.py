"""Convert configurations and lists of PaddleVideo and mmaction2."""
