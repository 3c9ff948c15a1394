"""Fixtures of the training tests."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="module")
def on_ranks(tmp_path_factory, request):
    """on_ranks(size, work, *arguments): what `work(world, *arguments)` gives on each of `size` CPU processes, by rank.

    `work` is a function at the top of the test's module.
    """

    def run(size, work, *arguments):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        folder = tmp_path_factory.mktemp(f"ranks-{work.__name__}")
        torch.save(arguments, folder / "arguments.pt")
        command = [sys.executable, Path(__file__).with_name("ranks.py"), request.path, work.__name__, folder]
        place = {"WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": 1}
        processes = []
        for rank in range(size):
            environment = {
                **os.environ,
                **{key: str(value) for key, value in {**place, "RANK": rank, "LOCAL_RANK": rank}.items()},
            }
            with (folder / f"{rank}.log").open("wb") as log:
                processes.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
        try:
            for process in processes:
                process.wait(timeout=1800)  # a busy machine is no failure
        finally:
            for process in processes:
                process.kill()
        for rank, process in enumerate(processes):
            assert process.returncode == 0, f"rank {rank}: {(folder / f'{rank}.log').read_text()[-3000:]}"
        return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(size)]

    return run
