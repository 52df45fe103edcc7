"""A streaming server with a simulated model, whose true send times are known.

options      the command line
settings     what the server is started with
parsing      text → values
server       what is made once, and where it listens
door         who gets in
app          the routes
answers      from a question to its response
refusals     what an error looks like
truth        when each token was really sent
exposition   `/metrics`
playground   the page in the browser
"""

if __name__ != "streamgauge.reference_server":  # imported by the folder's name: then each class would exist twice
    raise ImportError(f"import streamgauge.reference_server instead of {__name__}")
