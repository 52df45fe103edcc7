"""The harness's C code, its declarations in Python, and its loader."""
