"""Without its extra the package says how to get it, and the classifier works all the same."""

import subprocess
import sys

CODE = """
import sys
for name in ("torchmetrics", "torch_fidelity", "torch_fidelity.feature_extractor_inceptionv3"):
    sys.modules[name] = None  # as if it were not installed
import torch
from ganlib import errors, metrics
assert metrics.DigitClassifier().eval()(torch.zeros(1, 1, 28, 28)).shape == (1, 10)
assert abs(metrics.nearest_neighbors(torch.zeros(1, 2), torch.ones(1, 2))[0].item() - 2**0.5) < 1e-12
for name in metrics.__all__:
    if name in ("DigitClassifier", "nearest_neighbors"):
        continue
    make = getattr(metrics, name)
    try:
        make() if name == "InceptionFeatures" else make(lambda samples: samples)
    except errors.MissingExtraError as error:
        assert isinstance(error, ImportError)
        assert "ganlib[metrics]" in str(error)
    else:
        raise SystemExit(f"{make} was made")
"""


def test_what_is_missing_is_named() -> None:
    """Making a metric without torchmetrics names the extra, while DigitClassifier and neighbors need none."""
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
