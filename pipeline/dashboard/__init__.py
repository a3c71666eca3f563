"""Omniboard, the web page of the runs."""
