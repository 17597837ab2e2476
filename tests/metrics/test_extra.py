"""Without its extra the package says how to get it, and the classifier works all the same."""

import subprocess
import sys

CODE = """
import sys
sys.modules["torchmetrics"] = None  # as if it were not installed
import torch
from ganlib import errors, metrics
assert metrics.DigitClassifier().eval()(torch.zeros(1, 1, 28, 28)).shape == (1, 10)
for make in (metrics.FrechetDistance, metrics.LabelAccuracy):
    try:
        make(lambda samples: samples)
    except errors.MissingExtraError as error:
        assert isinstance(error, ImportError)
        assert "ganlib[metrics]" in str(error)
    else:
        raise SystemExit(f"{make} was made")
"""


def test_what_is_missing_is_named() -> None:
    """Making a metric without torchmetrics names the extra, while DigitClassifier needs none."""
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
