"""Upstream mode: a real model answers in place of the simulated one."""
