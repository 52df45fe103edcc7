"""httpx that waits for minutes for an answer: its own five seconds can be too few on a busy machine."""

from functools import partial

import httpx

from tests.support.command import PATIENCE

get = partial(httpx.get, timeout=PATIENCE)
post = partial(httpx.post, timeout=PATIENCE)
request = partial(httpx.request, timeout=PATIENCE)
stream = partial(httpx.stream, timeout=PATIENCE)
Client = partial(httpx.Client, timeout=PATIENCE)
