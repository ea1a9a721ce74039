"""Write pages for people: one self-contained HTML page per result, and scalars for TensorBoard and VisualDL."""
