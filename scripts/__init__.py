"""What is run by hand. The import repairs torchvision before anything else needs it."""

import training.utils.torchvision  # noqa: F401
