"""streamgauge: load tests and SLA reports for LLM streaming endpoints. Importing this package has no effect.

The sub-packages are the repository's folders of the same names: links in a checkout, copies in a wheel.
"""

__version__ = "0.1.0"
