"""Names of HTTP headers."""

import re

NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, token
# Is in the names of headers whose values are secrets.
OF_SECRETS = re.compile("auth|key|token|secret|cookie|passw|session|sign", re.IGNORECASE)
