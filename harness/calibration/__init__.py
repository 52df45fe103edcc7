"""How exact the recorded times are on this machine, and how many processes a load needs here.

measurement   real runs against the reference server
comparison    what a run recorded, compared with the server's own log
kept          the result in a file, for later runs
sizing        the load of a run, compared with the result
machine       what a result is valid for
"""
