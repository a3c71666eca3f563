"""CIFAR-10.

Source: Krizhevsky 2009.
"""

from torchvision.datasets import CIFAR10

from pipeline import plugins
from pipeline.data.cifar import CifarLayout

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
LAYOUT = CifarLayout(CIFAR10, "cifar-10-batches-py", ".", "50000 + 10000, 3 × 32 × 32", CLASSES)
plugins.data_set("cifar10", shape=(3, 32, 32), classes=10)(LAYOUT)
