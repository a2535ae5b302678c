"""Looking before anything is touched: checks, drift, lint, and taking over what others made."""
