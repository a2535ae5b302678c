"""Where a URL leads: what it says, and what libpq takes from elsewhere where it says nothing."""

import os
import re
from dataclasses import dataclass

from psycopg import conninfo, pq

# The folders of our embedded servers' sockets: this, and sixteen digits that tell them apart.
EMBEDDED_SOCKETS = "/tmp/pymilk-"  # noqa: S108 - made private, and checked, by who makes one

_EMBEDDED = re.compile(rf"{EMBEDDED_SOCKETS}[0-9a-f]{{16}}")
_VARIABLES = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "user": "PGUSER",
    "dbname": "PGDATABASE",
    "service": "PGSERVICE",
}
# Refused by libpq after it has looked everything up, and before it looks for a server.
_NO_CONNECTION = "no connection is wanted"


@dataclass(frozen=True)
class Address:
    """A database on a server, and who is asked for.

    Attributes:
        user: Empty where nothing names one: libpq then takes the account's name.
        host: A name, an address, a socket's folder; empty for libpq's own socket.
        port: Its number, or several, as a URL may name several hosts.
        database: Empty where nothing names one: libpq then takes the user's name.
    """

    user: str
    host: str
    port: str
    database: str

    @property
    def is_socket(self) -> bool:
        """Whether it is a socket whose folder is named."""
        return self.host.startswith("/")

    @property
    def is_embedded(self) -> bool:
        """Whether it is one of our embedded servers."""
        return _EMBEDDED.fullmatch(self.host) is not None


def address_of(url: str) -> Address:
    """Where a URL leads: by its own words, then its service's, then the environment's.

    Raises:
        psycopg.ProgrammingError: It is none.
    """
    given = {name: str(value) for name, value in conninfo.conninfo_to_dict(url).items()}
    elsewhere = {name: os.environ.get(variable, "") for name, variable in _VARIABLES.items()}
    sources = [given, elsewhere]
    if given.get("service") or elsewhere["service"]:
        sources.insert(1, _with_its_service(url))

    def first(*names: str) -> str:
        return next((each[name] for each in sources for name in names if each.get(name)), "")

    return Address(
        first("user"), first("host", "hostaddr"), first("port") or "5432", first("dbname")
    )


def _with_its_service(url: str) -> dict[str, str]:
    """All that libpq would connect with; nothing where it doesn't know the service.

    libpq alone knows where its installation keeps the file of services.
    """
    unopened = pq.PGconn.connect_start(conninfo.make_conninfo(url, sslmode=_NO_CONNECTION).encode())
    try:
        return {
            option.keyword.decode(): option.val.decode() for option in unopened.info if option.val
        }
    finally:
        unopened.finish()
