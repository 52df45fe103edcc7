"""A streaming server with a simulated model, whose true send times are known."""

if __name__ != "streamgauge.reference_server":  # found by its folder's name: each class would then exist twice
    raise ImportError(f"import streamgauge.reference_server instead of {__name__}")
