"""Our engine beside others: times, evaluations, memory and the error of gradients, measured side by side."""
