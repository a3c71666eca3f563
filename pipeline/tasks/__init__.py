"""The kinds of experiment: what each loads, builds, minimises, evaluates and records; a folder each."""
