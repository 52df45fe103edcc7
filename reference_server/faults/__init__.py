"""What can go wrong with an answer, on request or by rule, and the connection on which it happens."""
