"""How results are presented: figures, text tables, HTML pages, progress on a terminal."""
