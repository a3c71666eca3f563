"""Image classification as Sacred's own command line runs it, tracked likewise.

python -m experiments.classification with resnet_small digits
python -m experiments.classification print_config with gladzik_odenet --plugin my_net.py
"""

from pipeline.util import early_signals  # noqa: F401 - first, as it says

# isort: split

import sys

from experiments.command_line import main
from experiments.task_experiment import experiment_of

ex = experiment_of("classification").sacred

if __name__ == "__main__":
    sys.exit(main("classification"))
