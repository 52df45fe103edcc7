"""One HTTP exchange over a socket whose arrivals the kernel stamps: the hot path.

endpoint     where a target listens
connection   a connected socket: connect, send, close
tls          TLS above it, over memory buffers
exchange     one request and what came back
loop         chooses the socket reader of an exchange
plain        a socket reader in Python
compiled     a socket reader in C
"""
