"""The project's files: migrations and their pairs, policy, SQL text. No database here."""
