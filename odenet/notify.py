"""`odenet notify`."""

import click

from odenet.arguments import JSON, examples
from odenet.output import answer
from pipeline.util.errors import OdenetError


@click.command(epilog=examples("odenet notify"))
@JSON
def notify(as_json: bool) -> None:
    """Send a message to those who are told of ends, to try it."""
    from pipeline.reporting.words import counted
    from pipeline.runs.notification import notification_file, read_targets, send

    file = notification_file()
    targets = read_targets(file)
    if not targets:
        raise OdenetError(
            f"nobody is told when a run ends: write addresses of Apprise's into {file}, one a line, for you alone "
            f"(chmod 600), as in ntfy://ntfy.sh/my-topic"
        )
    failed = send(targets, "odenet: a try", "The ends of runs and sweeps will be told here.")
    document = {
        "file": str(file),
        "sent": [target.line for target in targets if target not in failed],
        "failed": {str(target.line): reason for target, reason in failed.items()},
    }
    answer(as_json, document, f"sent to {counted(len(targets) - len(failed), 'place')} of {file}")
    if failed:
        reasons = "; ".join(f"line {target.line}: {reason}" for target, reason in failed.items())
        raise OdenetError(f"not sent to all of {file} ({reasons})")
