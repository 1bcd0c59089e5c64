"""Which Ray cluster to join, and how many actors to start there: the checks before they begin."""

import importlib.util
import logging
import os
import socket

from soar_lib.settings.values import ConfigError, explained

CONNECT_SECONDS = 5.0


def check_address(address: str) -> None:
    """Raise ConfigError where Ray is not installed or no cluster can be at `address`; starts nothing."""
    if importlib.util.find_spec("ray") is None:
        raise ConfigError(
            f'--ray {address}: needs ray, which is not installed; pip install "soar-lib[ray]", or leave --ray out'
        )
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in address:
        raise ConfigError(f"--ray {address}: must be auto, or HOST:PORT of a cluster's head as `ray start --head` says")
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()  # Ray itself would try for minutes
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"--ray {address}: no cluster can be reached there ({error}); start its head with ray start --head, "
            "or use --ray auto"
        ) from error


def choose_count(resources: dict[str, float], gpu: bool, asked: int | None, students: int, threads: int) -> int:
    """How many actors: `asked`, else one per GPU or per `threads` CPUs; at most one per student. Raises ConfigError.

    >>> choose_count({"CPU": 16.0, "GPU": 4.0}, True, None, 16, 8), choose_count({"CPU": 16.0}, False, None, 16, 4)
    (4, 4)
    """
    kind = "GPU" if gpu else "CPU"
    there = int(resources.get(kind, 0))
    if gpu and not there:
        raise ConfigError(
            "--ray: torch sees a GPU here, but the cluster has none to give; start it with ray start --head --num-gpus "
            "N, or set CUDA_VISIBLE_DEVICES= to compute on CPUs"
        )
    if not gpu and resources.get("GPU") and asked is None:
        raise ConfigError(
            f"--ray: the cluster has {int(resources['GPU'])} GPUs, but torch sees none here, where the teacher stays; "
            "start the command on a machine with one, or name a number of CPU actors by --actors"
        )
    if asked is not None and not 1 <= asked <= there:
        raise ConfigError(f"--actors {asked}: must be between 1 and {there}, the {kind}s of the cluster")
    return min(asked or max(1, there // (1 if gpu else threads)), students)


def connect(address: str, **local) -> None:
    """Join the cluster at `address`; with "auto", where none runs, start one with `ray.init`'s options in `local`.
    Raises ConfigError where Ray does not start or join."""
    import ray

    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # what later versions do anyhow
    os.environ.setdefault("RAY_worker_register_timeout_seconds", "600")  # 60 are too few for a busy machine
    quiet = dict(logging_level=logging.ERROR, log_to_driver=False)
    advice = "see session_latest/logs in Ray's temporary folder, and try again where the machine was busy"
    with explained(f"--ray {address}: Ray did not start or join", advice):
        try:
            ray.init(address=address, **quiet)
        except ConnectionError:
            if address != "auto":
                raise
            ray.init(address="local", include_dashboard=False, **quiet, **local)
