"""Stands in for MongoDB's server where its image cannot be had: the embedded store's, open to the network.

Takes what the stack gives MongoDB's image: the data in /data/db, root's password in a file.
"""

import os
import signal
from pathlib import Path

from secantus.auth import SCRAM_SHA_256, derive_credentials
from secantus.server import SecantusDBServer

stop_signals = {signal.SIGTERM, signal.SIGINT}
signal.pthread_sigmask(signal.SIG_BLOCK, stop_signals)  # before threads start: they inherit the mask
server = SecantusDBServer(
    host="0.0.0.0",  # noqa: S104 - a container's address, published on 127.0.0.1
    port=27017,
    storage_path="/data/db/stand-in",
    replica_set_name=None,
    require_auth=True,
    sync_on_commit=True,
    durable=True,
)
root = {
    "_id": "admin.root",
    "user": "root",
    "db": "admin",
    "credentials": derive_credentials(Path(os.environ["MONGO_INITDB_ROOT_PASSWORD_FILE"]).read_text()).to_doc(),
    "roles": [{"role": "root", "db": "admin"}],
    "mechanisms": [SCRAM_SHA_256],
}
server.storage.add_user("admin", "root", root, replace=True)
server.start()
signal.sigwait(stop_signals)
server.stop()
