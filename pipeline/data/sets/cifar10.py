"""CIFAR-10.

Source: Krizhevsky 2009.
"""

from pipeline import plugins
from pipeline.data.cifar import CifarLayout

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FILES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta")
LAYOUT = CifarLayout("CIFAR10", "cifar-10-batches-py", ".", "50000 + 10000, 3 × 32 × 32", CLASSES, FILES)
plugins.data_set("cifar10", shape=(3, 32, 32), classes=10)(LAYOUT)
