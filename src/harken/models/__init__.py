"""Batch → a named output; one file per task."""
