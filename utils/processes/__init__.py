"""The processes of a run: ranks, children, signals, the device, and the limits of the machine."""
