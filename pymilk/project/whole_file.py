"""Files that are written in one move: a full disk or a killed process leaves what was there."""

import secrets
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, all of it or nothing; one that is there keeps its mode.

    Args:
        path: The file; its folder is there.
        content: What it is to hold.

    Raises:
        OSError: It can't be written; the error names the file.
    """
    aim = path.resolve()  # where a link leads, so that it stays a link
    new = aim.with_name(f".{aim.name}.{secrets.token_hex(4)}")
    try:
        try:
            with new.open("xb") as file:
                file.write(content)
            if aim.exists():
                new.chmod(aim.stat().st_mode & 0o777)
            new.replace(aim)
        except BaseException:
            new.unlink(missing_ok=True)
            raise
    except OSError as error:
        # A write that fails doesn't say of which file, and of ours nobody has heard.
        raise OSError(error.errno, error.strerror, str(path)) from error
