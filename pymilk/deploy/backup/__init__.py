"""Backups, their proof, and what is restored from them."""
