"""How many users an endpoint can hold: the search for `streamgauge capacity`.

streams     what the search knows of a stream: is it good, and by how much
sequential  one visit to one level: the share of bad streams, looked at again until it is clear
path        which level is visited next: double, bisect, confirm
knee        the load at which the rules are just kept, fitted to all visits
"""
