"""For an environment with a CPU build of torch: lets PyPI's torchvision, which is built for CUDA, be imported.

vLLM looks at models in processes of its own, which know nothing of this project. So the cure of
`training/utils/torchvision.py` has to act in each Python process of the environment: `scripts/setup_vllm.sh` puts
this file and a `.pth` file that imports it into its site-packages. Nothing is loaded before torchvision is asked for.
"""

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path


class DeclareFirst(MetaPathFinder):
    """Declares the operators that torchvision misses, once it is imported and not where it is looked for."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name) if name == "torchvision" else None
        if spec and spec.loader:
            execute = spec.loader.exec_module

            def declare_and_execute(module: object) -> None:
                declare(Path(spec.origin).with_name("_C.so"))
                execute(module)

            spec.loader.exec_module = declare_and_execute
        return spec


def declare(library: Path) -> None:
    import torch

    if hasattr(torch.ops.torchvision, "nms"):
        return
    try:
        torch.ops.load_library(str(library))
    except OSError:
        sys.torchvision_operators = torch.library.Library(
            "torchvision", "FRAGMENT"
        )  # lives as long as this reference
        for name in ("nms", "qnms"):
            sys.torchvision_operators.define(
                f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            )


sys.meta_path.insert(0, DeclareFirst())
