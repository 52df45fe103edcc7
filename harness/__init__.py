"""The load generator, the record, the verdict and the commands; docs/architecture.md draws the parts."""

if __name__ != "streamgauge.harness":  # found by its folder's name: each class would then exist twice
    raise ImportError(f"import streamgauge.harness instead of {__name__}")
