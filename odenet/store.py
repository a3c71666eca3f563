"""`odenet store` and `odenet sync`."""

import click

from odenet.arguments import JSON, examples
from odenet.output import print_json


@click.command(epilog=examples("odenet store status", "odenet store stop"))
@click.argument("action", type=click.Choice(["status", "start", "stop"]))
@JSON
def store(action: str, as_json: bool) -> None:
    """The embedded store: whether it runs, start it or stop it."""
    from pipeline.tracking.embedded import EmbeddedStore
    from pipeline.util.paths import home

    embedded = EmbeddedStore(home())
    if action == "start":
        embedded.start()
    elif action == "stop":
        embedded.stop()
    status = embedded.status()
    if as_json:
        print_json({**vars(status), "folder": str(status.folder)})
    else:
        state = f"running at {status.address} (process {status.pid})" if status.running else "not running"
        print(f"{state}; {status.size_mb:.1f} MB in {status.folder}")


@click.command(epilog=examples("odenet sync"))
@JSON
def sync(as_json: bool) -> int:
    """Deliver what the store missed."""
    from pipeline.tracking.store import connect
    from pipeline.tracking.sync import sync as deliver
    from pipeline.util.paths import home

    deliveries = []
    for delivery in deliver(home(), connect()):
        deliveries.append(vars(delivery))
        if not as_json:
            print(delivery.message)
    if as_json:
        print_json(deliveries)
    elif not deliveries:
        print("nothing waits to be delivered")
    return 1 if any(delivery["outcome"] in ("elsewhere", "refused") for delivery in deliveries) else 0
