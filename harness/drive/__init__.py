"""The left half: turns a load into observations, and never computes a percentile. In the order of a stream:

users            the Locust user that scenarios subclass
think_times      how long it waits before the next question
attributes       what a scenario's class sets by a misspelt name
prompts          what users ask
behaviour        what the person does with the answer
shapes           how many users there are, over time
schedule         when streams of an open load are due
dispatcher       hands each due arrival to a free user
site             the target of a run, prepared for its clients
request          the HTTP request that asks a question
cpu              how much CPU the process had, and who else wanted it
recorder         gathers a process's observations and vitals
server_metrics   samples the server's own metrics page
"""
