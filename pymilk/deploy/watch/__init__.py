"""Watching what was deployed, and what is done when something breaks."""
