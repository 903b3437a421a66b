"""Errors a person can act on."""


class UsageError(ValueError):
    """Bad input from the person: one line with the value, the rule and the remedy.

    The command line prints it without a traceback and exits with code 2.
    """
