"""What can be wrong with a data set."""

from pipeline.util.errors import OdenetError


class DataError(OdenetError):
    """A data set that is absent, damaged or inconsistent."""
