"""The tests keep what they convert in a folder of their own, and so do the processes that they start."""

import os
import tempfile

CACHE = tempfile.TemporaryDirectory(prefix="datasets-")
os.environ["HF_DATASETS_CACHE"] = CACHE.name
