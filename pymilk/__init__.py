"""Change a live Supabase database safely, and call its functions with types.

`Client`, `AsyncClient`, `errors` and `rpc` are the thin client; they are imported when first used,
so that the command line starts without them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pymilk import rpc
    from pymilk.rpc import errors
    from pymilk.rpc.async_client import AsyncClient
    from pymilk.rpc.client import Client

__all__ = ["AsyncClient", "Client", "errors", "rpc"]

_MODULES: Final = {
    "AsyncClient": "pymilk.rpc.async_client",
    "Client": "pymilk.rpc.client",
    "errors": "pymilk.rpc.errors",
    "rpc": "pymilk.rpc",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    module = import_module(_MODULES[name])
    return getattr(module, name) if name.endswith("Client") else module


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
