"""Connect to the target database, and refuse what a deploy can't trust."""

import hashlib
from dataclasses import dataclass, field

import psycopg
from psycopg import conninfo
from psycopg.rows import TupleRow

from pymilk.database.address import address_of
from pymilk.problem import Problem, UsageProblem
from pymilk.project.policy import Preset

Connection = psycopg.Connection[TupleRow]

_TRANSACTION_POOLER_PORT = "6543"

# Reading waits for nobody for ever, not even for whoever holds the strongest lock.
_LOCK_TIMEOUT = "30s"


@dataclass(frozen=True)
class Target:
    """The database that a command works on.

    Attributes:
        url: How to connect; holds the password, so it is never printed.
        preset: Which policy it gets.
    """

    url: str = field(repr=False)
    preset: Preset

    @property
    def label(self) -> str:
        """Who and where, without the password."""
        at = address_of(self.url)
        if at.is_embedded:
            return f"{at.database or 'postgres'} (embedded)"
        return f"{at.user}@{at.host or 'local socket'}:{at.port}/{at.database}"

    @property
    def folder_name(self) -> str:
        """A name for this target's backups, safe in a path."""
        label = self.label
        name = "".join(c if c.isalnum() or c in "-._" else "_" for c in label).strip("_")
        at = address_of(self.url)
        if not at.is_socket or at.is_embedded:
            return name
        # Of two folders /a/b and /a_b the sockets' names would be the same.
        return f"{name}-{hashlib.sha256(label.encode()).hexdigest()[:8]}"


def target_at(url: str, preset: Preset) -> Target:
    """Check that `url` can be a target at all.

    Raises:
        UsageProblem: It is no Postgres URL, or it is Supabase's transaction pooler.
    """
    try:
        ports = address_of(url).port
    except psycopg.ProgrammingError as error:
        raise _unreadable() from error
    if _cuts_a_password(url) or not all(port.isdigit() for port in ports.split(",") if port):
        raise _unreadable()
    if _TRANSACTION_POOLER_PORT in ports.split(","):
        raise UsageProblem(
            "Port 6543 is Supabase's transaction pooler: locks and settings don't stay with a"
            " session there, so nothing could be proven through it.",
            state="No database was touched.",
            todo="Use the direct connection or the session pooler: the same URL with port 5432.",
        )
    return Target(url, preset)


def _cuts_a_password(url: str) -> bool:
    """Whether an @ stands where the password has ended: a part of it is taken for something else.

    That part would be told as the server's name or the database's.
    """
    _, is_url, rest = url.partition("://")
    authority, _, path = rest.partition("?")[0].partition("/")
    return bool(is_url) and (authority.count("@") > 1 or "@" in path)


def _unreadable() -> UsageProblem:
    return UsageProblem(
        "The database URL can't be read.",  # nor is it told: it may hold a password anywhere
        state="No database was touched.",
        todo="It should look like postgresql://USER:PASSWORD@HOST:5432/postgres. In the password"
        " @ is written %40, / is %2F, : is %3A, # is %23, ? is %3F, and % is %25.",
    )


def connect(url: str, *, purpose: str, autocommit: bool = True) -> Connection:
    """Open a connection whose settings make values print alike everywhere.

    Args:
        url: A libpq URL.
        purpose: What it is for; the server shows it as application_name.
        autocommit: psycopg's; transactions are then explicit blocks.

    Raises:
        Problem: The database can't be reached, or its session can't be set up.
    """
    try:
        connection = psycopg.connect(
            url, autocommit=autocommit, application_name=f"pymilk {purpose}", connect_timeout=15
        )
    except psycopg.OperationalError as error:
        label = Target(url, Preset.LIVE).label
        raise Problem(
            f"Can't connect to {label}: {first_line(error)}",
            state="Nothing was changed: there was no connection.",
            todo="Check the URL, the password, and whether the project is paused; then try again.",
        ) from error
    try:
        _set_up(connection)
    except BaseException as error:
        connection.close()  # nobody else has it to close
        if not isinstance(error, psycopg.Error):
            raise
        raise Problem(
            f"The session on {Target(url, Preset.LIVE).label} can't be set up: {first_line(error)}",
            state="Nothing was changed: the session is closed, before anything was done in it.",
            todo="Was the server ended or restarted just now? Then try again.",
        ) from error
    return connection


def _set_up(connection: Connection) -> None:
    connection.execute(
        "select set_config('DateStyle', 'ISO, YMD', false), set_config('TimeZone', 'UTC', false),"
        " set_config('IntervalStyle', 'postgres', false),"
        # The database's limits are for the app; a dump that is waited for isn't idle.
        " set_config('statement_timeout', '0', false),"
        " set_config('idle_in_transaction_session_timeout', '0', false),"
        " set_config('idle_session_timeout', '0', false), set_config('lock_timeout', %s, false),"
        " set_config('extra_float_digits', '1', false), set_config('bytea_output', 'hex', false),"
        # Compiling a query of the catalog takes many times what running it does.
        " set_config('jit', 'off', false)",
        (_LOCK_TIMEOUT,),
    )


def without_password(url: str) -> tuple[str, dict[str, str]]:
    """A connection string to show on a command line, and the environment that completes it.

    Command lines can be read by every user of the machine; passwords don't belong there.
    """
    parts = conninfo.conninfo_to_dict(url)
    password = parts.pop("password", None)
    return conninfo.make_conninfo("", **parts), (
        {"PGPASSWORD": str(password)} if password is not None else {}
    )


def server_major(url: str) -> int:
    """The major version of the server that the URL names.

    Raises:
        Problem: It can't be reached.
    """
    with connect(url, purpose="version") as connection:
        return connection.info.server_version // 10000


def on_database(url: str, name: str) -> str:
    """The same URL with another database in it."""
    return conninfo.make_conninfo(url, dbname=name)


def first_line(error: BaseException) -> str:
    """The sentence that matters of a driver's error; guesses and pointers come after it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
