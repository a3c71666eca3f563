"""Sacred without pandas, until a table comes."""

import json
import subprocess
import sys

import numpy as np
from sacred import serializer

from pipeline.tracking.lean_sacred import flatten

SCRIPT = """
import json, sys
from pipeline.tracking.lean_sacred import flatten
from sacred import serializer
assert "sacred" in sys.modules and "pandas" not in sys.modules
assert flatten({"a": 1}) == {"a": 1}
import pandas
kept = json.loads(json.dumps(flatten(pandas.DataFrame({"x": [1.5, 2.5]}))))
print(kept["values"], serializer.restore(kept)["x"].tolist())
"""


def test_pandas_is_not_loaded_with_sacred_and_a_table_is_stored_as_sacred_does() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True, timeout=100)
    assert done.stdout == '{"x": [1.5, 2.5]} [1.5, 2.5]\n'


def test_arrays_come_back_from_what_is_stored() -> None:
    kept = json.loads(json.dumps(flatten({"array": np.arange(3.0)})))
    assert serializer.restore(kept)["array"].tolist() == [0.0, 1.0, 2.0]
