"""Networks as graphs that other programs compute: traced for the CPU's engine, exported for whoever wants one."""
