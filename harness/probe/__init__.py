"""One question to an endpoint, and what came of it: what `try` shows. No Locust, no database.

lines          TOML lines: written, and applied to a target
asking         one question, with the client and the reading of a run
events         what came, event by event
samples        the beginning of a body, taken as every kind of stream
formats        which format a stream looks like, and the lines that read it
guess          the lines for a JSON format that nobody knows
advice         a sentence, and the lines that it is about
unconnected    what to change if no answer came at all
complaints     what a server's words say about the request's body
keys           in which header the server expects its key
refusals       what to change if the server refused the request
unread         what to change if it said yes, and its answer is no complete stream
complete       what to look at although the answer is complete
remedies       all of these together
trying         asks, and once more with the lines that should help
recognising    which protocol an endpoint speaks
sent           the request as it was sent, without secrets
first_config   the config that a team begins with, as a file
saving         the config that worked, as a file
document       all of it as JSON
screen         all of it for a terminal
"""
