"""How numbers are shown: figures, tables, HTML, progress on a terminal."""
