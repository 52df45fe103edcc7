"""Whether a text is a URL, and how it may be shown."""

import re
from urllib.parse import urlsplit


def is_url(text: str) -> bool:
    """Whether it is a whole `http://` or `https://` URL with a host."""
    try:
        parts = urlsplit(text)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is not a number
        return False


def public_url(url: str) -> str:
    """Without user, password and query; variables stay as they are written."""
    return re.sub(r"[?#].*", "?…", re.sub(r"(^|//)[^/?#]*@", r"\1…@", url), flags=re.DOTALL)
