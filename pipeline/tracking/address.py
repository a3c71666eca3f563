"""Which MongoDB the runs go to."""

from dataclasses import dataclass, field

from pipeline.util.errors import OdenetError


class StoreError(OdenetError):
    """The store cannot be started, reached or entered."""


@dataclass(frozen=True)
class StoreAddress:
    """A MongoDB and the database in it; `url` may hold a password, `redacted()` never does."""

    url: str = field(repr=False)
    database: str
    embedded: bool
    source: str = "ODENET_MONGO_URL"
    """What a person corrects when the address is wrong."""

    def redacted(self) -> str:
        """The address with user, password and options left out, for people and for records."""
        scheme, _, rest = self.url.partition("://")
        login, _, location = rest.rpartition("@")
        hosts = location.split("?")[0].split("/")[0]
        return f"{scheme}://{'***:***@' if login else ''}{hosts}/{self.database}"
