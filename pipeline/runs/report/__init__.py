"""Any runs as one interactive page: curves, settings against results, importance, a table."""
