"""Options that are numbers within bounds. Click would call another text `not a valid integer range`."""

import click


class WholeNumber(click.IntRange):
    name = "whole number"


class Number(click.FloatRange):
    name = "number"
