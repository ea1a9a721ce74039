"""Prepare data before the scripts run: make lists, check videos, re-encode them, make demo clips."""
