"""The stack's secrets: made once, at random, in files that nobody but their reader can read.

`logins.py FOLDER make` makes what is missing, `logins.py FOLDER show` prints the logins for a person.

    FOLDER/mongo/      root_password, odenet_password
    FOLDER/odenet/     mongo_url, ray_token
    FOLDER/omniboard/  settings.json

Each folder belongs to the user that its service runs as, so that one volume serves them all.
"""

import json
import os
import secrets
import sys
from pathlib import Path

OWNERS = {"mongo": 999, "odenet": 10001, "omniboard": 1000}
"""Folder to the user id of its reader, which MongoDB's image, ours and Node's fix."""

PASSWORD_BYTES = 24
DATABASE = "odenet"
USER = "odenet"


def main(folder: Path, verb: str) -> None:
    if verb == "make":
        make(folder)
    elif verb == "show":
        show(folder)
    else:
        sys.exit(f"The secrets can be made or shown, not {verb}: write `docker compose run --rm secrets show`.")


def make(folder: Path) -> None:
    """Write every secret that is not there yet; what is there stays as it is."""
    _once(folder / "mongo" / "root_password", secrets.token_urlsafe(PASSWORD_BYTES))
    _once(folder / "odenet" / "ray_token", secrets.token_urlsafe(PASSWORD_BYTES))
    password = _once(folder / "mongo" / "odenet_password", secrets.token_urlsafe(PASSWORD_BYTES))
    url = _once(folder / "odenet" / "mongo_url", f"mongodb://{USER}:{password}@mongo:27017/{DATABASE}")
    settings = {
        "mongoUri": url,
        "database": DATABASE,
        "user": USER,
        "password": secrets.token_urlsafe(PASSWORD_BYTES),
    }
    _once(folder / "omniboard" / "settings.json", json.dumps(settings))


def show(folder: Path) -> None:
    """Print the logins with the addresses at which this machine's programs reach the stack."""
    try:
        board = json.loads((folder / "omniboard" / "settings.json").read_text())
        root_password = (folder / "mongo" / "root_password").read_text()
        password = (folder / "mongo" / "odenet_password").read_text()
        token = (folder / "odenet" / "ray_token").read_text()
    except FileNotFoundError:
        sys.exit("There are no logins yet: `docker compose up` makes them.")
    mongo = f"127.0.0.1:{os.environ['ODENET_MONGO_PORT']}"
    print(f"Omniboard   http://127.0.0.1:{os.environ['ODENET_BOARD_PORT']}")
    print(f"            user {board['user']}, password {board['password']}")
    print(f"MongoDB     mongodb://{USER}:{password}@{mongo}/{DATABASE}")
    print(f"            to administer it: mongodb://root:{root_password}@{mongo}/admin")
    print(f"Ray's token {token}")


def _once(file: Path, content: str) -> str:
    """The file's content, which is `content` if it did not exist before."""
    owner = OWNERS[file.parent.name]
    file.parent.mkdir(mode=0o700, exist_ok=True)
    os.chown(file.parent, owner, owner)  # also of one that was made when this was ended
    if not file.exists():
        written = file.with_suffix(".new")
        written.unlink(missing_ok=True)
        with os.fdopen(os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as secret:
            os.chown(secret.fileno(), owner, owner)
            secret.write(content)
            secret.flush()
            os.fsync(secret.fileno())
        written.replace(file)
    return file.read_text()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
