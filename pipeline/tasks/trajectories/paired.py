"""That there is no test of two models, which a comparison then need not import the task, and torch with it, to know."""

PAIRED_TEST = None
