"""One HTTP exchange over a socket whose arrivals the kernel stamps: the hot path.

endpoint     where a target listens
connection   a connected socket: connect, send, close
tls          TLS above it, over memory buffers
exchange     one request and what came back
inflate      decompresses a body while it arrives
response     the HTTP answer, as its parser finds it
broken       why an exchange ended too early
loop         chooses the socket reader of an exchange
plain        socket readers in Python
compiled     socket readers in C
encrypted    the same for TLS
turns        how long the gevent loop works before it serves those who connect
pace         how fast an emulated link lets an exchange read
reads        how far each read came, and when
stamps       the kernel's times, for the readers in Python
"""
