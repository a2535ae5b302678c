"""A dairy that does not exist: rows to rehearse on, the same in every run."""
