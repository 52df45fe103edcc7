"""The simulated model, its tools and its prompt cache. No HTTP, no wire format, no sockets.

input          what the model must know of a request
settings       how the model behaves, and presets
steps          what it generates, step by step
answer         the steps of one answer
prose          what it says
pace           when each token is due
script         an answer, drawn before its first token
prompt_cache   beginnings of prompts seen lately
samples        a value that fits a JSON Schema
tools          the server's own tools
turns          tools run between the model's turns
simulation     the model as the routes use it
"""
