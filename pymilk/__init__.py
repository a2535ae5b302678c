"""Change a live Supabase database safely, and call its functions with types.

`Client`, `errors` and `rpc` are the thin client; they are imported when first used, so that
the command line starts without them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pymilk import rpc
    from pymilk.rpc import errors
    from pymilk.rpc.client import Client

__all__ = ["Client", "errors", "rpc"]


def __getattr__(name: str) -> object:
    match name:
        case "Client":
            return import_module("pymilk.rpc.client").Client
        case "errors" | "rpc":
            return import_module("pymilk.rpc.errors" if name == "errors" else "pymilk.rpc")
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
