"""What is done with runs after they have run: tags and notes, files, export, removal."""
