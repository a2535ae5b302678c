"""`pymilk` and `python -m pymilk`."""

import os
import sys


def main() -> int:
    """Run the command line; gives the exit code."""
    # None of pydantic's plugins is ours, and to look for them is to read what else is installed.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        from pymilk.cli.app import run  # noqa: PLC0415 - the thin client comes without it
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted before anything was begun; nothing was changed.\n")
        return 130
    except ModuleNotFoundError as error:
        if error.name not in {"typer", "rich", "pydantic", "tomlkit"}:
            raise
        sys.stderr.write(
            f"The toolkit isn't installed here ({error.name} is missing); the client is.\n"
            "Install it: pip install 'pymilk[deploy,embedded]'\n"
        )
        return 2
    return run()


if __name__ == "__main__":
    sys.exit(main())
