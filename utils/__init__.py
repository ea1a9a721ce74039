"""What every room needs: log lines, errors, files, and how a script ends."""
