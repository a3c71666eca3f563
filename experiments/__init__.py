"""What is run: Sacred experiments, their named configurations and the demonstration."""
