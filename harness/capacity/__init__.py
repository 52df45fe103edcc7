"""How many users an endpoint can hold: the search for `streamgauge capacity`.

streams       what the search knows of a stream: is it good, and by how much
sequential    one visit to one level: the share of bad streams, looked at again until it is clear
path          which level is visited next: double, bisect, confirm
knee          the load at which the rules are just kept, fitted to all visits
units         what a load is counted in
per_stream    the rules as they are asked of one stream
backlog       an open load that the server does not keep up with
guards        what ends a search early
driven        the run that the search drives: a Locust process
rows          its streams so far, in the order in which they were due
window        a visit's part of the run, judged as a run is
visiting      visits to the levels of that run
found         what was found, as a document
hunt          the whole search
kept          what was found, out of a database
usl           throughput by load, as a curve for the eye
sentences     the answer in words
screen        the search in a terminal
outputs       the answer as files and for CI
"""
