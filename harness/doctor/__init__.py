"""Whether an endpoint's streaming is set up right: a few small questions, and a checklist of what came of them.

seen          one answer, as the checks look at it
disturbance   whether one answer stands still while another question begins
reach         the host's addresses and its TLS
evidence      all that was seen, as one frozen value
candidates    what an endpoint may be asked for
cancelling    how an answer is cancelled by its id
session       asks within a budget of requests and of time
counters      the server's own counts of what it generates
settling      what an endpoint speaks, before anything else is asked
experiments   what is asked
examination   everything that is asked, one after the other
result        what a check finds
products      which proxy, server or framework it is, and which line of it to change
diagnosis     all checks together: the worst first, one sentence, an exit code
screen        for a terminal
document      as JSON
markdown      for a comment
page          as an HTML page

The checks are in `checks`.
"""
