"""What this machine can do, and whether it does it right: bash run.sh doctor."""
