"""The checks: pure functions of the evidence. To add one, write it in one of these files, and its entry here.

reach      addresses, TLS, redirects, connections, refusals
head       what the answer's head says
answer     whether the answer is whole and can be read
flow       whether chunks come when they are made
limits     after how long the path ends a stream or a connection
people     several people, and those who read slowly or come back
stopping   whether an answer stops when its person leaves or cancels it
"""

from streamgauge.harness.doctor.checks import answer, flow, head, limits, people, reach, stopping
from streamgauge.harness.doctor.result import Check

# The most serious first: of equal results, they are shown in this order.
CHECKS: dict[str, Check] = {
    "answers": Check("The endpoint answers", "Without an answer nothing else can be looked at", reach.answers),
    "redirect": Check(
        "No redirect",
        "A redirect costs a round trip, and most clients then ask by GET without the question",
        reach.redirect,
    ),
    "end": Check(
        "Every answer comes to its end", "People take half an answer for a whole one, or see an error", answer.end
    ),
    "streaming": Check(
        "Chunks come as they are made",
        "Otherwise people look at nothing while the answer is already there",
        flow.streaming,
    ),
    "sse": Check(
        "Events follow the standard",
        "Clients drop what they cannot read, and nobody sees that it is missing",
        answer.sse,
    ),
    "compression": Check(
        "Compression does not gather chunks",
        "A compressor that is not flushed holds the answer back until its buffer is full",
        head.compression,
    ),
    "content_length": Check(
        "No length in the head", "A length is known only when the whole answer is there", head.length
    ),
    "content_type": Check(
        "The content type says that it is a stream",
        "Browsers refuse other types, and proxies buffer and compress them",
        head.content_type,
    ),
    "together": Check(
        "Streams run beside each other", "Otherwise everybody waits for everybody else's whole answer", people.together
    ),
    "undisturbed": Check(
        "A new question does not stop other streams",
        "A blocked event loop makes all answers stand still",
        people.undisturbed,
    ),
    "steady": Check("No long pauses in the middle", "A pause of a second looks like the end", flow.steady),
    "leaving": Check(
        "Generation stops when a person leaves",
        "What is generated for nobody costs money and slows down others",
        stopping.leaving,
    ),
    "cancel": Check(
        "A cancel by its id stops an answer",
        "A stop button that stops nothing keeps people waiting, and what is generated for nobody costs money",
        stopping.cancel,
    ),
    "absolute_limit": Check(
        "The path lets a long answer end by itself", "Long answers are cut off in the middle", limits.absolute
    ),
    "idle_limit": Check(
        "The path lets a silent stream live", "A model that thinks sends nothing for a minute", limits.idle
    ),
    "writes": Check(
        "Each event is sent in one write",
        "The second of two small writes waits for an acknowledgement, 40 ms",
        flow.whole_writes,
    ),
    "path": Check("The path adds little", "What a proxy adds to TTFT, every person waits for", flow.path),
    "tls": Check(
        "TLS is trusted and will stay so", "With an expired or untrusted certificate nobody can connect", reach.tls
    ),
    "addresses": Check(
        "Every address takes connections",
        "A dead address costs some people seconds, and others the connection",
        reach.addresses,
    ),
    "kept_connection": Check(
        "Connections are kept", "A new connection costs two or three round trips before the first token", reach.kept
    ),
    "idle_connection": Check(
        "The server keeps idle connections longer than a balancer",
        "A question that meets a closing connection is lost before its first byte",
        limits.idle_connection,
    ),
    "http2": Check(
        "HTTP/2 is offered", "With HTTP/1.1 a browser opens six connections to a host: a seventh tab waits", reach.http2
    ),
    "first_byte": Check(
        "The head does not wait for the model", "Proxies give up after 30 to 120 s without a byte", head.first_byte
    ),
    "silence": Check(
        "Long silences have signs of life",
        "Proxies close a connection that is silent for 15 to 60 s, also while a model thinks",
        flow.silence,
    ),
    "chunks": Check(
        "A chunk is about one token", "Text in large pieces reads badly, and itl is not per token", flow.chunks
    ),
    "slow_reader": Check("A slow reader gets the whole answer", "Phones on a bad link read slowly", people.slow_reader),
    "resume": Check(
        "A broken answer can be resumed",
        "With ids, a browser reconnects by itself and asks for the rest",
        people.resume,
    ),
    "cache_control": Check(
        "Caches leave the answer alone",
        "Without `no-cache`, something on the way may keep or rewrite the answer",
        head.caching,
    ),
    "x_accel_buffering": Check("nginx is told not to buffer", "nginx buffers answers by default", head.accel),
    "usage": Check("Answers tell their tokens", "Without token counts cost and tpot are unknown", answer.usage),
    "prompt_cache": Check(
        "The prompt cache works", "A long prompt that is read again delays the first token", people.prompt_cache
    ),
    "whole": Check("An answer in one piece can be had", "Programs that do not stream ask so", answer.whole),
    "bad_request": Check(
        "A wrong request is refused in words",
        "Programs must tell their own mistake from the server's",
        answer.bad_request,
    ),
    "stream_error": Check(
        "An error inside the stream can be read", "After the head, only an event can tell an error", answer.stream_error
    ),
    "retry_after": Check(
        "A refusal says when to come back", "Without it, clients come back at once, all together", reach.retry_after
    ),
    "cors": Check(
        "Browsers of other origins may ask", "Without it, pages on another host cannot use the endpoint", head.cors
    ),
    "get": Check("GET streams as POST does", "Some tunnels stream only one of them", flow.get),
}
