"""streamgauge: load tests and SLA reports for LLM streaming endpoints. Importing this package has no effect."""

__version__ = "0.1.0"
