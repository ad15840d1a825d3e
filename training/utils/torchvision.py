"""torchvision beside a CPU build of torch. Importing this mends it, before transformers or open_clip asks for it.

PyPI's Linux wheel of torchvision is built for CUDA. Beside a CPU build of torch it fails to import, and
takes most of transformers and open_clip with it. Only two operators of detection models are missing, so
they are declared here; calling them would still be an error.
"""

from importlib.util import find_spec
from pathlib import Path

import torch


def _repair_torchvision() -> torch.library.Library | None:
    spec = find_spec("torchvision")
    if spec is None or spec.origin is None or hasattr(torch.ops.torchvision, "nms"):
        return None
    try:
        torch.ops.load_library(str(Path(spec.origin).with_name("_C.so")))
    except OSError:
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        return library
    return None


_TORCHVISION = _repair_torchvision()  # the declarations live as long as this reference
