"""The harness's C, what Python must know of it, and its loader."""
