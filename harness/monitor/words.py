"""What the judge's process tells the process that started it: a line on its standard output for each round."""

ROUND = "round"  # new probes have been judged, and some targets are silent
GOOD = "good round"  # the same, and every target has been probed lately
SILENT = "silent "  # followed by the name of a target: it has not been probed for much too long
