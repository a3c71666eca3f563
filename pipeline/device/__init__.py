"""The machine: device, precision, memory, compilation, random state."""
