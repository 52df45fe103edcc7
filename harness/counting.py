"""A number and its noun, as people write them."""


def some(n: int, singular: str, plural: str | None = None) -> str:
    """`1 stream`, `1,200 streams`. `plural`: if it is not the singular with an s."""
    return f"{n:,} {singular if n == 1 else plural or singular + 's'}"
