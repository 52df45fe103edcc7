"""The simulated prompt cache: the prefixes of recent prompts. The caller gives the time."""

import hashlib
from collections import OrderedDict

from streamgauge.reference_server.model.input import count_tokens


class PromptCache:
    """Keeps digests only. When it is full, the least recently used prefix is dropped."""

    LIFETIME = 5 * 60_000_000_000  # ns after the last use
    SHORTEST = 1024  # tokens; the real services do not cache shorter prefixes either
    MARKS = 4  # of one prompt; the longest prefixes count

    def __init__(self, entries: int = 4096) -> None:
        self._entries = entries
        self._expires: OrderedDict[bytes, int] = OrderedDict()  # by the digest of the prefix

    def use(self, prefixes: list[str], now: int) -> tuple[int, int]:
        """Look up these prefixes of one prompt and add them. Return the tokens read from and written to the cache.

        `now` is in ns.
        """
        read = longest = 0
        for prefix in prefixes[-self.MARKS :]:
            tokens = count_tokens(prefix)
            if tokens < self.SHORTEST:
                continue
            longest = tokens
            key = hashlib.blake2b(prefix.encode("utf-8", "surrogatepass"), digest_size=16).digest()
            if self._expires.pop(key, 0) > now:
                read = tokens
            self._expires[key] = now + self.LIFETIME
        while len(self._expires) > self._entries:
            self._expires.popitem(last=False)
        return read, longest - read
