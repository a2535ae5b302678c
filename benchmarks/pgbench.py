"""Clients that cost nearly nothing: pgbench, so that the server is measured and not a driver.

Each script is one turn of a client. The variable `n` counts turns over all clients, without gaps
that matter: it names the row that the turn works on.
"""

import re
import subprocess
import tempfile
from pathlib import Path

from psycopg import conninfo

from pymilk.database.programs import find_programs

CLIENTS = 8
_TPS = re.compile(r"^tps = ([0-9.]+) \(without initial connection time\)", re.MULTILINE)
_FAILED = re.compile(r"^number of failed transactions: ([0-9]+)", re.MULTILINE)


def turns_per_second(
    url: str,
    script: str,
    *,
    turns: int,
    clients: int = CLIENTS,
    options: str = "",
) -> float:
    """Run a script by several clients at once; its statements are prepared once a client.

    Args:
        url: Where, and as whom.
        script: pgbench's language; `:n` is another number each time.
        turns: How many, of all clients together; their numbers begin with 0.
        clients: How many.
        options: Settings of the sessions, as in PGOPTIONS.

    Returns:
        Turns a second; connecting doesn't count.

    Raises:
        RuntimeError: a turn failed.
    """
    each = turns // clients
    counted = f"\\set n :client_id * {each} + :turn\n\\set turn :turn + 1\n{script}"
    where = conninfo.conninfo_to_dict(url)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "turn.sql")
        path.write_text(counted, encoding="utf-8")
        said = subprocess.run(
            [
                find_programs().path("pgbench"),
                "--no-vacuum",
                "--protocol=prepared",
                f"--client={clients}",
                f"--transactions={each}",
                "--define=turn=0",
                f"--file={path}",
            ],
            env={
                "PGHOST": str(where["host"]),
                "PGPORT": str(where["port"]),
                "PGUSER": str(where["user"]),
                "PGDATABASE": str(where["dbname"]),
                "PGOPTIONS": options,
            },
            capture_output=True,
            text=True,
            check=False,
        )
    speed, failed = _TPS.search(said.stdout), _FAILED.search(said.stdout)
    if said.returncode != 0 or speed is None or failed is None or failed[1] != "0":
        raise RuntimeError(f"pgbench: {said.stderr.strip() or said.stdout.strip()}")
    return float(speed[1])
