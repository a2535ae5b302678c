"""Who runs this."""

import getpass
import socket


def person() -> str:
    """Who runs this, and on which machine."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # no such user on this machine, as in bare containers
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
