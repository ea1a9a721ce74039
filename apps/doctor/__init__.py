"""Check this machine and the toolkit on it: bash run.sh doctor."""
