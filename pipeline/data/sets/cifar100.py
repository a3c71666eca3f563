"""CIFAR-100.

Source: Krizhevsky 2009.
"""

from pipeline import plugins
from pipeline.data.cifar import CifarLayout

FILES = ("train", "test", "meta")
LAYOUT = CifarLayout("CIFAR100", "cifar-100-python", ".", "50000 + 10000, 3 × 32 × 32", None, FILES)
plugins.data_set("cifar100", shape=(3, 32, 32), classes=100)(LAYOUT)
