"""`pymilk` and `python -m pymilk`."""

import gc
import os
import sys

# Python looks for garbage every 700 objects that are made; modules are made of objects that stay.
_OBJECTS_BETWEEN_LOOKS = 50_000


def seldom_look_for_garbage() -> None:
    """Let loading go on without a look for garbage among what it loads; as mypy does."""
    gc.set_threshold(_OBJECTS_BETWEEN_LOOKS)


def main() -> int:
    """Run the command line; gives the exit code."""
    seldom_look_for_garbage()
    try:
        return _run()
    finally:
        # It goes with the process: Python need not look through all of it once more before.
        gc.freeze()


def _run() -> int:
    # None of pydantic's plugins is ours, and to look for them is to read what else is installed.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        from pymilk.cli.app import run  # noqa: PLC0415 - the thin client comes without it
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted before anything was begun; nothing was changed.\n")
        return 130
    except ModuleNotFoundError as error:
        if error.name not in {"click", "rich", "pydantic", "tomlkit"}:
            raise
        sys.stderr.write(
            f"The toolkit isn't installed here ({error.name} is missing); the client is.\n"
            "Install it: pip install 'pymilk[deploy,embedded]'\n"
        )
        return 2
    return run()


if __name__ == "__main__":
    sys.exit(main())
