"""`make tour`: what the documentation has a user do, from clone to CI, one command after another.

files    the config, scenarios and tests that the commands read
steps    the commands, with the exit code and the first line that each must have
"""
