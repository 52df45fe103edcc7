"""The simulated model, its tools and its prompt cache. No HTTP, no wire format, no sockets."""
