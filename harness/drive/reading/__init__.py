"""From bytes to the observation of a stream. Pure.

transcript   all that the socket saw of one stream, and its observation
sse          bytes → server-sent events
ndjson       bytes → events, one a line
text         bytes → events, one for each read
framing      which of the three
body         a whole answer, decoded to columns
ending       how an answer ended: outcome and detail
delivery     when the emulated link delivered each read
timing       the moments of a stream
progress     how far an answer has come, while it comes
resumption   one answer over several connections
spoken       the text of an answer
whole        answers that are not streamed
"""
