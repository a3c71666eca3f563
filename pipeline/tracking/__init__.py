"""Where runs are written: the store, the observer that fills it, and what waits on disk meanwhile."""
