"""What other tools read of a monitor.

probes      the streams that are new, for whoever exposes them
page        Prometheus's page
otlp        metrics for an OpenTelemetry collector
genai       OpenTelemetry's names
promql      what the rules and the dashboard ask Prometheus
rules       Prometheus's rules, and documents for Sloth and OpenSLO
dashboard   Grafana's dashboard
yaml        values as YAML
written     all of these documents as files
"""
