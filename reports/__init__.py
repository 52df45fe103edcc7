"""HTML pages made from judged runs.

material   what the panels draw
counters   the server's counters over time
panel      what a panel is made of
page       a run's report as one HTML file
trend      the history page
"""

if __name__ != "streamgauge.reports":  # imported by the folder's name: then each class would exist twice
    raise ImportError(f"import streamgauge.reports instead of {__name__}")
