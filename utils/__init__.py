"""Provide what every room needs: log lines, errors, files, and how scripts end."""
