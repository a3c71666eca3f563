"""Studies: a question, the runs that answer it, a paper's numbers, verdicts and claims, as tables and pages."""
