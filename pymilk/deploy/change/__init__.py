"""Changing a schema and its rows, there and back, wherever: a copy or the live database."""
