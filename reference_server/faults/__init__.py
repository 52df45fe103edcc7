"""Faults of an answer, on request or by rule, and the connection that injects them."""
