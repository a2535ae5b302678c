"""Postgres: connections, servers, catalog, contents, history, ledger, dumps. No pipeline here."""
