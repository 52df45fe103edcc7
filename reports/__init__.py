"""HTML pages made from judged runs."""

if __name__ != "streamgauge.reports":  # imported by the folder's name: then each class would exist twice
    raise ImportError(f"import streamgauge.reports instead of {__name__}")
