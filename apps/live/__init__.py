"""Classify live video: name the classes of the last seconds of a camera or stream, every few seconds."""
