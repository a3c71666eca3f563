"""`odenet store` and `odenet sync`."""

import click

from odenet.arguments import JSON, examples
from odenet.output import answer, print_json
from pipeline.util.paths import home


@click.command(epilog=examples("odenet store status", "odenet store stop"))
@click.argument("action", type=click.Choice(["status", "start", "stop"]))
@JSON
def store(action: str, as_json: bool) -> None:
    """The embedded store: whether it runs, start it or stop it."""
    from pipeline.tracking.embedded import EmbeddedStore

    embedded = EmbeddedStore(home())
    if action == "start":
        embedded.start()
    elif action == "stop":
        embedded.stop()
    status = embedded.status()
    state = f"running at {status.address} (process {status.pid})" if status.running else "not running"
    text = f"{state}; {status.size_mb:.1f} MB in {status.folder}"
    answer(as_json, {**vars(status), "folder": str(status.folder)}, text)


@click.command(epilog=examples("odenet sync"))
@JSON
def sync(as_json: bool) -> int:
    """Deliver what the store missed."""
    from pipeline.tracking.store import connect
    from pipeline.tracking.sync import sync as deliver

    deliveries = []
    for delivery in deliver(home(), connect()):
        deliveries.append(vars(delivery))
        if not as_json:
            print(delivery.message)
    if as_json:
        print_json(deliveries)
    elif not deliveries:
        print("nothing waits to be delivered")
    return 1 if any(delivery["outcome"] in ("elsewhere", "damaged", "refused") for delivery in deliveries) else 0
