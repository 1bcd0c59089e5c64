"""One frozen base, many adapters: which base, the stack of adapters, sampling from it and learning with it.

transformers imports torchvision, where it is installed, for every model. A build that cannot be imported (one for
another torch, as Unsloth's extra brings) would take all models with it and none here needs it, so it counts as absent.
"""

import importlib
import importlib.util
import sys

if importlib.util.find_spec("torchvision") is not None:
    try:
        importlib.import_module("torchvision")
    except Exception:  # an ImportError, a RuntimeError of its operators, an OSError of its libraries
        sys.modules["torchvision"] = None  # what find_spec and import take for "not installed"
