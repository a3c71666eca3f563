"""What has nothing to do with networks: errors, paths, files, text, signals."""
