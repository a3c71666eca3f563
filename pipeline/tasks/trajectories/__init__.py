"""Maps of points that continuous trajectories can, or cannot, follow."""
