"""streamgauge.toml as typed values: `schema` says what may be in it, `load` reads it, `secrets` fills in `${NAME}`.

schema           the tables, their keys and defaults
alerts           the tables [[alert]]
duration         a length of time with its unit
share            a percentage
urls             whether a text is a URL, and how it may be shown
header_names     what names of HTTP headers are made of, and which are of secrets
contents         a file's bytes, up to a size
edit             changes keys of a config file, and keeps its comments
load             the file → Config
overrides        what options of a command say in place of the target's keys
presets          lists of rules that have a name
checks           what types alone cannot say
monitor_checks   the same of [monitor] and [[slo]]
template         places such as `{prompt}` in a team's own request
redaction        secrets in text from outside, blotted out
literals         secrets that stand in the config itself
secrets          `${NAME}`, filled in when it is used
credentials      the keys that are dealt to the users
receivers        the tables [[alert]] with their secrets
"""
