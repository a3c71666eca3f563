"""`odenet board`."""

import click

from odenet.arguments import examples, port_number


@click.command(epilog=examples("odenet board", "odenet board --port 9100 --open"))
@click.option("--port", type=port_number, metavar="N", help="first port to try")
@click.option("--open", "is_opened", is_flag=True, help="open it in the browser")
def board(port: int | None, is_opened: bool) -> None:
    """Show the runs in Omniboard, until Ctrl-C."""
    from pipeline.dashboard.board import serve_board

    serve_board(port, is_opened)
