"""Runs read back from the store: find, show, load, repeat, keep.

from pipeline.runs import Runs
Runs().to_frame({"config.data.name": "digits"})
"""

from pipeline.runs.query import ArtifactError, RunNotFound, Runs, StoredRun

__all__ = ["ArtifactError", "RunNotFound", "Runs", "StoredRun"]
