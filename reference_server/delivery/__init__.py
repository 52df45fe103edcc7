"""Each token at its due time, no further than the client reads, and nothing after the client has left."""
