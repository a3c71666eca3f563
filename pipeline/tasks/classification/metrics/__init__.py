"""The metrics of image classification beside its loss, a file each.

They are imported wherever runs are listed, so that they import torch for types alone.
"""
