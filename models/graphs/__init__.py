"""Networks as graphs that other programs compute: traced for the CPU's engine, or exported for other runtimes."""
