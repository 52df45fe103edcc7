"""Each token at its due time, no further than the client reads, and nothing after the client has left.

settings      how an answer is delivered
sink          the two ends of a connection, as types
incoming      limits of requests that are still arriving
connection    a client's socket
responses     a stream as an HTTP response
stream        one stream: each token at its due time
timer_wheel   the due times of all streams
flushing      tokens gathered into words or sentences
whole         the writer of an answer that is not streamed
streams       all streams: active, queued, ended
counts        what `/metrics` shows
"""
