"""Alerts: what is told to whom, and how it is delivered. The kinds of receivers are in `receivers`.

message     one alert, as it is stored and sent
telling     an alert in words
outbox      puts alerts into the queue in the monitor's database
queue       one receiver's part of the queue
deliverer   delivers the queue: a thread for each receiver
of_result   the alert about a judged run or a gate
at_once     alerts without a queue: a test, and what `judge` and a gate tell
"""
