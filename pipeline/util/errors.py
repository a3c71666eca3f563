"""Errors that a command prints as one sentence, without a traceback."""


class OdenetError(Exception):
    """An error whose cause is outside the program. Its message says what is wrong, with which value, and what to do."""

    exit_status = 1


class InvalidInput(OdenetError):
    """The user asked for something invalid: an unknown name, a wrong type, an impossible value."""

    exit_status = 2
