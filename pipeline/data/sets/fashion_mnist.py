"""Fashion-MNIST.

Source: Xiao, Rasul & Vollgraf 2017.
"""

from torchvision.datasets import FashionMNIST

from pipeline import plugins
from pipeline.data.idx import MnistLayout

LAYOUT = MnistLayout(FashionMNIST, "60000 + 10000, 1 × 28 × 28", tuple(FashionMNIST.classes))
plugins.data_set("fashion_mnist", shape=(1, 28, 28), classes=10)(LAYOUT)
