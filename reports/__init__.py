"""HTML pages made from judged runs."""

if __name__ != "streamgauge.reports":  # found by its folder's name: each class would then exist twice
    raise ImportError(f"import streamgauge.reports instead of {__name__}")
