"""Where Omniboard shows a run."""

from urllib.parse import urlencode


def run_address(board: str, run_id: int) -> str:
    """The address at which the Omniboard at `board` shows the run."""
    return f"{board.rstrip('/')}?{urlencode({'showDrillDownRunModal': 'true', 'runIdToExpand': run_id})}"
