"""What a hostile server or user would write into every text, and what must never reach a terminal."""

import re

NASTY = (
    "=cmd|' /C calc'!A0\x1b[2J\x1b]0;title\x07\x9b31m\r\n::set-output name=a::b\n::STOP-COMMANDS::z\n##[error]x"
    "\u202e\u200b\u2066\ufffe|`a`|<script>alert(1)</script>%0A::error::y]]>&\"'\\@everyone\x7f"
)
ACTING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufffe]")  # on a terminal
