"""A client of the `supabase` package from a URL and a key."""

from collections.abc import Mapping
from typing import Any, Final

import httpx
from supabase.lib.client_options import SyncClientOptions

from supabase import AsyncClient, AsyncClientOptions, Client

_SECONDS: Final = 120.0  # as the package has it
# A session of our own, since the package's way to set a time-out is to go.
_SESSION: Final[Mapping[str, Any]] = {"follow_redirects": True, "http2": True}


def dial(
    url: str,
    key: str,
    token: str | None,
    timeout: float | httpx.Timeout | None,
    headers: Mapping[str, str] | None,
) -> Client:
    """A client that keeps no session and renews no token: the token that is given counts."""
    session = httpx.Client(timeout=_SECONDS if timeout is None else timeout, **_SESSION)
    return Client(url, key, SyncClientOptions(httpx_client=session, **_options(token, headers)))


def dial_async(
    url: str,
    key: str,
    token: str | None,
    timeout: float | httpx.Timeout | None,
    headers: Mapping[str, str] | None,
) -> AsyncClient:
    """Likewise, with async."""
    session = httpx.AsyncClient(timeout=_SECONDS if timeout is None else timeout, **_SESSION)
    options = AsyncClientOptions(httpx_client=session, **_options(token, headers))
    return AsyncClient(url, key, options)


def _options(token: str | None, headers: Mapping[str, str] | None) -> dict[str, Any]:
    said = dict(headers or {})
    if token is not None:
        said["Authorization"] = f"Bearer {token}"
    return {"headers": said, "auto_refresh_token": False, "persist_session": False}
