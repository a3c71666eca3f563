"""Fashion-MNIST.

Source: Xiao, Rasul & Vollgraf 2017.
"""

from pipeline import plugins
from pipeline.data.idx import MnistLayout

CLASSES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
LAYOUT = MnistLayout("FashionMNIST", "FashionMNIST", "FashionMNIST/raw", "60000 + 10000, 1 × 28 × 28", CLASSES)
plugins.data_set("fashion_mnist", shape=(1, 28, 28), classes=10)(LAYOUT)
