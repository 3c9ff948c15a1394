"""One rank of a test on several processes: ranks.py TEST_MODULE FUNCTION FOLDER, with torchrun's variables in the environment."""

import importlib.util
import sys
from pathlib import Path

import torch

from training.distributed import join_world

if __name__ == "__main__":
    module_path, function, folder = sys.argv[1:]
    spec = importlib.util.spec_from_file_location("test_module", module_path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with join_world("cpu") as world:
        arguments = torch.load(Path(folder) / "arguments.pt", weights_only=False)
        torch.save(getattr(module, function)(world, *arguments), Path(folder) / f"{world.rank}.pt")
