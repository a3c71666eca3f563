"""Everything that is to be measured on a GPU, by one command, and its way into the docs by a second."""
