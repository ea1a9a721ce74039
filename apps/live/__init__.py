"""Live video: the classes of a camera's or a stream's last seconds, every few seconds."""
