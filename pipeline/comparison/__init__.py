"""Runs side by side: groups, paired tests, what is not fair, as tables and as a page."""
