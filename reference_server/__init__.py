"""A streaming server with a simulated model, whose true send times are known."""

if __name__ != "streamgauge.reference_server":  # imported by the folder's name: then each class would exist twice
    raise ImportError(f"import streamgauge.reference_server instead of {__name__}")
