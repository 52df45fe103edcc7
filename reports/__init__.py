"""HTML pages made from judged runs.

material      what the panels draw
counters      the server's counters over time
one_by_one    the streams that are shown singly
facets        the parts of a run of which a reader may choose one
series        a metric over time
panel         what a panel is made of
course_svg    TTFT over time, for the top of the page
missed_svg    failures or freezes over time in its place, where these missed a rule
headline      which rules were not met
answers       who has it worst, and whether it is the server, the link or our tool
worst         which group has it worst
group_bars    the figures behind it as bars
facts         the key numbers and percentiles of all streams, or of a part
stream_svg    one stream as drawings
terms         words with a definition
html          the templates
run_pages     which file is the report of which run
page          a run's report as one HTML file
capacity      the page of a search for the capacity
trend         the history page
status_page   the page of a monitor

The comparison page is a package of its own.
"""

if __name__ != "streamgauge.reports":  # imported by the folder's name: then each class would exist twice
    raise ImportError(f"import streamgauge.reports instead of {__name__}")
