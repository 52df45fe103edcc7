"""The load generator, the record, the verdict and the commands; docs/architecture.md draws the parts.

entry             where the `streamgauge` command begins
cli               the command with its subcommands
interrupt         what a signal does to a command
programs          the processes that commands start
parent            processes that end with the one that started them
cores             how many cores a process may use
counting          a number and its noun
errors            what a user's mistake raises
exit_codes        what the commands return
near_miss         what somebody may have meant by a name that does not exist
standard_output   what happens if it is closed, or full
unexpected        exceptions that nobody expected, in one line
"""

if __name__ != "streamgauge.harness":  # found by its folder's name: each class would then exist twice
    raise ImportError(f"import streamgauge.harness instead of {__name__}")
