"""httpx that waits for minutes for an answer: its own five seconds can be too few on a busy machine."""

from functools import partial

import httpx

_PATIENCE = 300  # seconds

get = partial(httpx.get, timeout=_PATIENCE)
post = partial(httpx.post, timeout=_PATIENCE)
request = partial(httpx.request, timeout=_PATIENCE)
stream = partial(httpx.stream, timeout=_PATIENCE)
Client = partial(httpx.Client, timeout=_PATIENCE)
