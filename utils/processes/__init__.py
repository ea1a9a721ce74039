"""The processes of a run: ranks, children, signals, the device, and what the machine leaves them."""
