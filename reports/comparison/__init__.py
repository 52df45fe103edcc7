"""The comparison page: what changed between two sides of runs, and whether it is real.

changes         what the page shows, of a gate or of two single runs
forest          the changes as marks on one axis, with their intervals and margins
overlaid        distributions and runs of both sides in one chart
compared_page   the panels, and the page
"""
