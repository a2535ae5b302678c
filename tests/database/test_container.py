"""Postgres in a container: shaped, and gone when nobody needs it any more."""

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import docker
import psycopg
import pytest

from pymilk.database import container
from pymilk.problem import Problem

SCRATCH = """
import sys
from pymilk.database import container
with container.scratch(int(sys.argv[1])) as server:
    print(server.url(), flush=True)
    input()
"""


@pytest.fixture(scope="module")
def major() -> int:
    """A major version that there is an image of."""
    wanted = int(os.environ.get("PYMILK_TEST_MAJOR", "17"))
    wanted = wanted if wanted in {15, 17} else 17
    try:
        container.find_image(wanted)
    except Problem as problem:
        pytest.skip(str(problem))
    return wanted


def test_it_is_the_wanted_postgres_shaped_and_reached_with_a_password(major: int) -> None:
    with container.scratch(major) as server, psycopg.connect(server.url()) as session:
        row = session.execute(
            "select current_user::text, to_regrole('anon') is not null"
        ).fetchone()
        assert session.info.server_version // 10_000 == major
        assert server.password not in repr(server)
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(server.url(), password="wrong")  # noqa: S106 - it is wrong
    assert row == ("postgres", True)


@pytest.mark.long
def test_the_next_one_removes_what_the_killed_left_and_nothing_else(
    major: int, tmp_path: Path
) -> None:
    killed, of_killed = _of_another_process(major)
    living, of_living = _of_another_process(major)
    elsewhere, of_elsewhere = _of_another_process(major)
    with killed, living, elsewhere:
        killed.kill()
        killed.wait()
        # A process with another /tmp than ours: its lock is not where it says that it is.
        lock = Path(_labels()[of_elsewhere].partition(" ")[2])
        lock.rename(tmp_path / "lock")
        with container.scratch(major):
            assert of_killed not in _labels()
            assert {of_living, of_elsewhere} <= _labels().keys()
        (tmp_path / "lock").rename(lock)
        living.communicate("\n")
        elsewhere.communicate("\n")
    assert (living.returncode, elsewhere.returncode) == (0, 0)
    assert not {of_living, of_elsewhere} & _labels().keys()


def _of_another_process(major: int) -> tuple[subprocess.Popen[str], str]:
    """A process that uses a container, and the port which that is published at."""
    child = subprocess.Popen(
        [sys.executable, "-c", SCRATCH, str(major)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    return child, str(urlsplit(child.stdout.readline().strip()).port)


def _labels() -> dict[str, str]:
    """What our containers say of their locks, by the port that they are published at."""
    with closing(docker.from_env()) as client:
        return {
            bindings[0]["HostPort"]: running.labels[container.LABEL]
            for running in client.containers.list(
                filters={"label": container.LABEL}, ignore_removed=True
            )
            for bindings in running.ports.values()
            if bindings
        }
