"""The pipeline: preflight, backup, restore test, rehearsal, apply, after; and the way back."""
