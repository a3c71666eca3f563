"""Failures that are told to a person in one sentence, without a traceback."""


class OdenetError(Exception):
    """Something went wrong outside the program; the message names the thing, the value and the remedy."""

    exit_status = 1


class InvalidInput(OdenetError):
    """The caller asked for something that cannot be: an unknown name, a wrong type, an impossible value."""

    exit_status = 2
