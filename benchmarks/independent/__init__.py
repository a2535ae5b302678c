"""A second opinion on the performance targets; see README.md."""
