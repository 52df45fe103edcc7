"""Packages that take a second to import, imported when a test first uses them.

The workers of `pytest -n` wait until all test files are imported.
"""

from importlib import import_module
from typing import Any


class Late:
    """Stands for the module of this name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("_"):  # pytest asks each global of a test file what it is
            raise AttributeError(attribute)
        return getattr(import_module(self._name), attribute)
