"""Errors that a command prints as one sentence, without a traceback."""

import errno
import os
import re

LONGEST_VALUE = 120
"""Characters of a value that a message repeats."""
LONGEST_WORD = 400
"""Characters without a space that a printed message has in one piece; most paths are shorter."""


class OdenetError(Exception):
    """An error whose cause is outside the program. Its message says what is wrong, with which value, and what to do."""

    exit_status = 1


class InvalidInput(OdenetError):
    """The user asked for something invalid: an unknown name, a wrong type, an impossible value."""

    exit_status = 2


def brief(value: object) -> str:
    """The value as a message repeats it: as Python writes it, its middle left out where it is long."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # it contains itself, or is a number of thousands of digits
        return f"a {type(value).__name__} that cannot be written down"
    return shortened(text, LONGEST_VALUE)


def shortened(text: str, longest: int) -> str:
    """The text, its middle left out where it is longer."""
    if len(text) <= longest:
        return text
    return f"{text[: longest * 2 // 3]}…{text[-longest // 4 :]}"


def in_a_line(message: str) -> str:
    """A message as one line of a terminal: without line breaks and control characters, long words shortened."""
    line = "".join(sign if sign.isprintable() else " " for sign in message)
    words = (shortened(word, LONGEST_WORD) for word in re.split(r"( +)", line))
    return "".join(words).strip()


_REMEDIES = {
    errno.ENOENT: "correct its name",
    errno.ENOTDIR: "correct the path: a part of it is a file where a folder is meant",
    errno.EISDIR: "name a file, not a folder",
    errno.EEXIST: "name another, or remove it",
    errno.ENAMETOOLONG: "name a shorter path",
    errno.EACCES: "make it readable and writable for you, or name another",
    errno.EPERM: "make it readable and writable for you, or name another",
    errno.EROFS: "its disk is mounted read-only: name another",
    errno.ELOOP: "it is a link that leads to itself: remove it",
}


def is_disk_full(error: BaseException) -> bool:
    """Whether it is, or came of, there being no room left, or no more allowed, on a disk."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    return error.__cause__ is not None and is_disk_full(error.__cause__)


def describe_os_error(error: OSError) -> str | None:
    """What the system refused, in a sentence with its remedy; None where it does not say of which file."""
    if is_disk_full(error):
        return f"the disk is full ({error.filename or 'no space left'}): make room or move ODENET_HOME"
    if error.filename is None or error.errno is None:
        return None
    name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else str(error.filename)
    remedy = _REMEDIES.get(error.errno, "set that right, or name another")
    return f"{name} cannot be used ({error.strerror}): {remedy}"
