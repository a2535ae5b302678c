"""Other sessions of a server, in words: of another role's Postgres shows some of it to few."""

from datetime import datetime


def since(moment: datetime | None) -> str:
    """Since when something is there, or that this role isn't shown it."""
    return f"since {moment:%H:%M:%S} UTC" if moment else "this role isn't shown since when"
