"""Whether a run met its rules, and whether its numbers can be believed.

subjects         what a rule is about: `p95(ttft)`
rules            a rule's text, parsed
sla              the verdict of a rule
abort            rules that end a run early
time_lost        how long a process stood still or was full
short_of_cores   whether other work kept a process from its cores
less_load        whether the load was clearly less than asked for
processes        what is said of several processes at once
validity         whether the generator measured itself
warm_up          what is told of the time before the measured one
cold_start       whether the first streams of a run without one were slower
summary          one metric in figures
itl_counts       how often each gap occurred, for people who write SQL
undecided        what lets an inconclusive run be judged
judgement        all of it for one run
"""
