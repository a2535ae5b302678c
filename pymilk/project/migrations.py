"""The migrations of a project and, under the same stem, their rollbacks and verifications."""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

from pymilk.problem import UsageProblem
from pymilk.project.statements import Statement, split, tokens

# The Supabase CLI's own pattern; it names files by 14 digits of UTC time, others use fewer.
_FILE_NAME = re.compile(r"^([0-9]+)_(.*)\.sql$")
_GAP = re.compile(r"^gap_?0*([0-9]+)(?:_|$)")
_GAP_ASKED = re.compile(r"^(?:gap[-_ ]?)?0*([0-9]{1,4})$", re.IGNORECASE)
_IRREVERSIBLE = re.compile(r"^-- irreversible: *(\S.*)$", re.MULTILINE)

# The Supabase CLI's own mark, on the first line: each statement by itself, outside a transaction.
_IN_STEPS = "-- pg-delta: transaction=false"
_TRANSACTION_CONTROL = frozenset({"begin", "commit", "rollback", "end", "abort", "savepoint"})
_ROLE = frozenset({"role", "authorization"})
# Plain ones: with an isolation level or `and chain` they ask for more than one transaction.
_BEGIN = frozenset(
    {("begin",), ("begin", "work"), ("begin", "transaction"), ("start", "transaction")}
)
_COMMIT = frozenset(
    (word, *more) for word in ("commit", "end") for more in ((), ("work",), ("transaction",))
)
_PSQLS_WAYS = (("from", "stdin"), ("to", "stdout"))
_OUTSIDE_TRANSACTIONS = (
    ("vacuum",),
    ("create", "database"),
    ("drop", "database"),
    ("alter", "system"),
    ("create", "tablespace"),
    ("drop", "tablespace"),
)
# Of all that can be done concurrently, this alone may stand in a transaction.
_CONCURRENTLY_IN_A_TRANSACTION = ("refresh", "materialized", "view")


@dataclass(frozen=True)
class Script:
    """One SQL file.

    Attributes:
        path: Where it lies.
        text: What it says.
    """

    path: Path
    text: str

    @property
    def short_path(self) -> str:
        """Its folder and name, which is what people call it: `state/owed.sql`."""
        return f"{self.path.parent.name}/{self.path.name}"

    @cached_property
    def checksum(self) -> str:
        """SHA-256 of the text, whatever ends its lines: that is the checkout's business."""
        return hashlib.sha256(self.text.replace("\r\n", "\n").encode()).hexdigest()

    @cached_property
    def statements(self) -> tuple[Statement, ...]:
        """Its statements, in order."""
        return split(self.text)

    @cached_property
    def inside(self) -> tuple[Statement, ...]:
        """The statements to run in a transaction of ours: without comments that stand alone.

        Nor with a plain `begin; … commit;` around the whole file: that asks for one transaction,
        which is what it gets.
        """
        run = tuple(each for each in self.statements if not each.only_comment)
        around = len(run) > 1 and run[0].words in _BEGIN and run[-1].words in _COMMIT
        return run[1:-1] if around else run

    @property
    def in_steps(self) -> bool:
        """Whether it says that it can't be one transaction: each statement is a step by itself."""
        return self.text.partition("\n")[0].strip() == _IN_STEPS


@dataclass(frozen=True)
class Migration:
    """One migration with what undoes and what verifies it.

    Attributes:
        version: The digits that its file name begins with.
        name: The rest of the file name, `gap_001_allocate_payment_atomic`.
        up: The migration itself.
        down: Its rollback, if there is one.
        verify: Its verification, if there is one; a file without a statement is none.
        give_back: What makes rows that an earlier rollback had kept consistent again, if anything
            has to.
        use: What people do with it once it is deployed, for the rehearsal to do on the copy.
    """

    version: str
    name: str
    up: Script
    down: Script | None
    verify: Script | None
    give_back: Script | None = None
    use: Script | None = None

    @property
    def stem(self) -> str:
        """What its files are called, without `.sql`."""
        return f"{self.version}_{self.name}"

    @property
    def gap(self) -> str | None:
        """The number of the gap that it fixes, three digits; none for other migrations."""
        found = _GAP.match(self.name)
        return found.group(1).zfill(3) if found else None

    @property
    def label(self) -> str:
        """What a person calls it: `GAP-001`, or its name."""
        return f"GAP-{self.gap}" if self.gap else self.name

    @property
    def argument(self) -> str:
        """What to type after `pymilk deploy` or `pymilk rollback`."""
        return self.gap or self.version

    @property
    def scripts(self) -> tuple[Script, ...]:
        """Its files, as many as there are: what a rehearsal proves and a deploy relies on."""
        every = (self.up, self.down, self.verify, self.give_back, self.use)
        return tuple(script for script in every if script is not None)

    @property
    def irreversible(self) -> str | None:
        """Why it has no rollback, from its `-- irreversible: …` line."""
        found = _IRREVERSIBLE.search(self.up.text)
        return found.group(1).strip() if found else None


def load_migrations(supabase: Path) -> tuple[Migration, ...]:
    """Read every migration under a supabase/ folder, oldest first.

    Args:
        supabase: The folder that holds migrations/, rollbacks/, verify/, give_back/ and use/.

    Raises:
        UsageProblem: The folder is missing, or two files claim one version.
    """
    folder = supabase / "migrations"
    if not folder.is_dir():
        raise UsageProblem(
            f"There is no folder {folder}.",
            state="No database was touched.",
            todo="Run this in a project that has supabase/migrations, or name it with --project.",
        )
    beside = [_files_in(supabase / name) for name in ("rollbacks", "give_back", "use")]
    verifications = _files_in(supabase / "verify")
    migrations: dict[int, Migration] = {}
    for file, path in sorted(_files_in(folder).items()):
        found = _FILE_NAME.match(file)
        if not found:
            continue  # the Supabase CLI skips it as well
        version, name = found.groups()
        if int(version) in migrations:
            first = migrations[int(version)].stem
            raise UsageProblem(
                f"Two migrations have version {version}: {first} and {path.stem}.",
                state="No database was touched.",
                todo="Give one of them a later version; an applied one keeps its own.",
            )
        down, give_back, use = (
            read_script(files[file]) if file in files else None for files in beside
        )
        verify = read_script(verifications[file]) if file in verifications else None
        if verify is not None and not _says_something(verify.text):
            verify = None
        migrations[int(version)] = Migration(
            version, name, read_script(path), down, verify, give_back, use
        )
    return tuple(migration for _, migration in sorted(migrations.items()))


def misnamed_files(supabase: Path) -> tuple[str, ...]:
    """The SQL files among the migrations that are none, because of what they are called."""
    names = sorted(_files_in(supabase / "migrations"))
    return tuple(
        name for name in names if name.lower().endswith(".sql") and not _FILE_NAME.match(name)
    )


def about_misnamed(names: tuple[str, ...]) -> str:
    """One sentence about such files: whoever wrote one waits for it to be applied."""
    files = "1 file" if len(names) == 1 else f"{len(names)} files"
    are = "is no migration" if len(names) == 1 else "are no migrations"
    return (
        f"{files} in supabase/migrations {are}, by name: {', '.join(names)}"
        " (a migration is called <14 digits>_<name>.sql)."
    )


def find_migration(migrations: tuple[Migration, ...], asked: str) -> Migration:
    """The migration that a person means by `001`, `GAP-001`, a version, a name or a stem.

    Raises:
        UsageProblem: None or several match.
    """
    gap = _GAP_ASKED.match(asked.strip())
    number = gap.group(1).zfill(3) if gap else None
    matching = [
        migration
        for migration in migrations
        if asked in {migration.version, migration.name, migration.stem, migration.up.path.name}
        or (number is not None and migration.gap == number)
    ]
    if len(matching) == 1:
        return matching[0]
    known = ", ".join(migration.argument for migration in migrations) or "none"
    if matching:
        stems = ", ".join(migration.stem for migration in matching)
        raise UsageProblem(
            f"'{asked}' could be any of: {stems}.",
            state="No database was touched.",
            todo="Name one of them by its version.",
        )
    raise UsageProblem(
        f"There is no migration '{asked}'.",
        state="No database was touched.",
        todo=f"Known here: {known}.",
    )


def refuse_what_cannot_be_one_transaction(script: Script) -> None:
    """Refuse a script that would end our transaction, or that can't run inside one.

    The whole promise (proof first, then commit, all in one transaction) hangs on this.

    Raises:
        UsageProblem: It holds such a statement, or rows for psql.
    """
    refuse_rows_for_psql(script)
    refuse_transaction_control(script)
    for statement in script.inside:
        outside = runs_outside_transactions(statement)
        if outside:
            raise UsageProblem(
                f"{_at(script, statement)}: '{outside}' can't run in a transaction.",
                state="No database was touched.",
                todo="Each script runs in one transaction, with its proof: take that statement out,"
                f" into a migration of its own whose first line is '{_IN_STEPS}'.",
            )


def refuse_rows_for_psql(script: Script) -> None:
    """Refuse `copy … from stdin` and `copy … to stdout`: no statement can send or take those rows.

    Raises:
        UsageProblem: It holds such a statement.
    """
    for statement in script.inside:
        if statement.words[:1] != ("copy",):
            continue
        words = [token.text.lower() for token in tokens(statement.text) if token.kind == "word"]
        way = next((way for way in _PSQLS_WAYS if way in pairwise(words)), None)
        if way is not None:
            raise UsageProblem(
                f"{_at(script, statement)}: 'copy … {' '.join(way)}' is for psql, which handles the"
                " rows itself; as a statement of a migration it can't be run.",
                state="No database was touched.",
                todo="Write the rows as 'insert into … values (…), (…);' (pg_dump --inserts makes"
                " that of a table), or load them once the migration is deployed.",
            )


def refuse_transaction_control(script: Script) -> None:
    """Refuse a script that begins or ends transactions itself.

    Raises:
        UsageProblem: It does.
    """
    for statement in script.statements if script.in_steps else script.inside:
        words = statement.words
        if words[:1] and words[0] in _TRANSACTION_CONTROL:
            what = words[0]
        elif words[:2] in {("start", "transaction"), ("prepare", "transaction")}:
            what = " ".join(words[:2])
        else:
            continue
        raise UsageProblem(
            f"{_at(script, statement)}: '{what}' controls the transaction itself.",
            state="No database was touched.",
            todo="Each script runs in one transaction, with its proof: take that statement out.",
        )


def refuse_what_cannot_be_steps(script: Script) -> None:
    """Refuse what no step can do.

    It ends no transaction. It takes no other role, which would go on for what is recorded between
    steps. And it names each index that it makes: what is left of one that was cut off, and whether
    it is there, is known by its name.

    Raises:
        UsageProblem: It holds such a statement.
    """
    refuse_transaction_control(script)
    for statement in script.statements:
        if statement.words[:1] == ("set",) and _ROLE.intersection(statement.words[1:3]):
            raise UsageProblem(
                f"{_at(script, statement)}: a role that a step takes would go on after it.",
                state="No database was touched.",
                todo="Do what needs the role within one step: in a 'do' block, or with 'owner to'.",
            )
        pieces = [piece.text.lower() for piece in tokens(statement.text) if not piece.is_comment]
        if ("concurrently", "on") in pairwise(pieces):
            raise UsageProblem(
                f"{_at(script, statement)}: an index that is made concurrently needs a name.",
                state="No database was touched.",
                todo="Give it one: what is left of an index that was cut off is known by that.",
            )


def runs_outside_transactions(statement: Statement) -> str | None:
    """The words that Postgres refuses inside a transaction; none where it can be in one."""
    words = statement.words
    if "concurrently" in words and words[:3] != _CONCURRENTLY_IN_A_TRANSACTION:
        return "concurrently"
    return next(
        (" ".join(start) for start in _OUTSIDE_TRANSACTIONS if words[: len(start)] == start), None
    )


def _at(script: Script, statement: Statement) -> str:
    return f"{script.short_path}, line {statement.line}"


def read_script(path: Path) -> Script:
    """Read one SQL file.

    Raises:
        UsageProblem: It is no UTF-8 text.
    """
    try:
        # Its line ends as they are, and without the mark that some editors begin with: as the
        # Supabase CLI reads it.
        return Script(path, path.read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise UsageProblem(
            f"{path} isn't UTF-8 text ({error.reason} at byte {error.start}).",
            state="No database was touched.",
            todo="Save it as UTF-8.",
        ) from error


def _says_something(text: str) -> bool:
    """Whether there is anything to run in it, beside comments."""
    lines = (line.strip() for line in text.splitlines())
    first = next((line for line in lines if line and not line.startswith("--")), "")
    if not first.startswith(("/*", ";")):
        return bool(first)  # as in nearly every file; to split one takes a while
    return any(not token.is_comment and token.text != ";" for token in tokens(text))


def _files_in(folder: Path) -> Mapping[str, Path]:
    """The files of a folder by their names, asked for at once; none where it isn't there."""
    if not folder.is_dir():
        return {}
    with os.scandir(folder) as entries:
        return {entry.name: folder / entry.name for entry in entries if entry.is_file()}
