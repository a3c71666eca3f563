"""QMNIST: MNIST with its 60 000 test images.

Source: Yadav & Bottou 2019.
"""

from pipeline import plugins
from pipeline.data.idx import QmnistLayout

LAYOUT = QmnistLayout("QMNIST", "QMNIST", "QMNIST/raw", "60000 + 60000, 1 × 28 × 28", tuple("0123456789"))
plugins.data_set("qmnist", shape=(1, 28, 28), classes=10)(LAYOUT)
