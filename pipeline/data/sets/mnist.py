"""MNIST.

Source: LeCun, Cortes & Burges 1998.
"""

from pipeline import plugins
from pipeline.data.idx import MnistLayout

LAYOUT = MnistLayout("MNIST", "MNIST", "MNIST/raw", "60000 + 10000, 1 × 28 × 28", tuple("0123456789"))
plugins.data_set("mnist", shape=(1, 28, 28), classes=10)(LAYOUT)
