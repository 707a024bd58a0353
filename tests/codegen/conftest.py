"""Lets the tests here use the kernels that the tests of the loop language are about."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "loops"))
