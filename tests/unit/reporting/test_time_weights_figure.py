"""Weights over time as a reader finds them."""

import torch

from pipeline.reporting.time_weights_figure import plot_time_weights


def test_what_hardly_changes_looks_so() -> None:
    times = torch.linspace(0, 1, 9)
    steady = 22.87 + 1e-6 * torch.sin(9 * times)
    turning = 22.87 + torch.sin(9 * times)
    for norms, is_flat in ((steady, True), (turning, False)):
        ax = plot_time_weights([(times, norms, 0 * times)], "a title").axes[0]
        low, high = ax.get_ylim()
        share = float(norms.max() - norms.min()) / (high - low)
        assert (share < 0.01) == is_flat
        assert ax.yaxis.get_major_formatter().get_useOffset() is False
