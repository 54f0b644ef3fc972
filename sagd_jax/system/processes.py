"""Several processes that are one program: how they start, and how they agree.

JAX's own runtime does the work (`jax.distributed`): each process runs the same program, sees the
devices of all, and a coordinator inside process 0 lets them find each other. `start` finds out from
the flags or the environment whether there is more than one process:

    --coordinator, --num_processes, --process_id    by hand
    JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES, JAX_PROCESS_ID    the same, as variables
    SLURM    a step of more than one task (srun)
    TPU      a pod slice; on one host it makes a group of one
    Kubernetes    an indexed job (JOB_COMPLETION_INDEX), with the package kubernetes

Anything else is a single process and needs no coordinator.
"""

from __future__ import annotations

import argparse
import collections
import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

from sagd_jax.system import exits
from sagd_jax.system.commandline import Parser, at_least
from sagd_jax.system.errors import one_line
from sagd_jax.system.schema import ConfigError

_HOST_AND_PORT = "expected host:port, the address of process 0 with a free port"


def add_flags(parser: Parser) -> None:
    """Adds the flags that `start` reads."""
    group = parser.add_argument_group(
        "several processes", "found out by themselves under SLURM, on a TPU pod and in Kubernetes"
    )
    group.add_argument("--coordinator", help="host:port of process 0")
    group.add_argument("--num_processes", type=at_least(1), help="how many there are")
    group.add_argument("--process_id", type=at_least(0), help="which one this is, from 0")
    group.add_argument(
        "--peer_timeout",
        type=at_least(1),
        default=300,
        metavar="SECONDS",
        help="how long to wait for the others at the start; default 300",
    )


def start(flags: argparse.Namespace) -> None:
    """Joins the other processes, if there are any. Call before anything touches a device.

    Where they do not all come within `flags.peer_timeout` seconds, it ends the process with one line
    and status 75, which asks a scheduler to try again.

    Raises:
      ConfigError: for flags or variables that do not fit together; one line.
    """
    settings = _settings(flags, os.environ)
    if settings is None:
        return
    import jax

    def give_up() -> None:
        print(_words(settings, flags.peer_timeout), file=sys.stderr, flush=True)
        os._exit(exits.TRY_AGAIN)

    # JAX aborts the process, with a stack trace, when its own time is up.
    timer = threading.Timer(flags.peer_timeout, give_up)
    timer.daemon = True
    timer.start()
    try:
        jax.distributed.initialize(**settings, initialization_timeout=flags.peer_timeout + 60)
    except (RuntimeError, ValueError, OSError) as error:
        words = _words(settings, flags.peer_timeout)
        raise ConfigError(f"{words} ({one_line(error, 300)})") from error
    finally:
        timer.cancel()


def log_level() -> int:
    """Of this process's log: warnings from the first, errors alone from the others."""
    import jax

    # A process that is alone need not wake its devices for this.
    alone = not jax.distributed.is_initialized()
    return logging.WARNING if alone or jax.process_index() == 0 else logging.ERROR


def broadcast(value: int) -> int:
    """Process 0's value, on every process; all call it."""
    import jax

    if jax.process_count() == 1:
        return value
    import numpy as np
    from jax.experimental import multihost_utils

    return int(multihost_utils.broadcast_one_to_all(np.int32(value)))


def everywhere(value: bool) -> bool:
    """Whether `value` holds on every process; all call it."""
    import jax

    if jax.process_count() == 1:
        return value
    import numpy as np
    from jax.experimental import multihost_utils

    return bool(np.all(multihost_utils.process_allgather(np.array(value))))


def on_first_process(action: Callable[[], int], errors: Mapping[type[Exception], str]) -> int:
    """Runs `action` on process 0 alone; every process returns its result or raises with it.

    Args:
      action: what to run; its result is a whole number.
      errors: by kind, in words for the other processes. Process 0 raises what `action` raised; the
        others the first of these kinds that it was of, or else the last.
    """
    import jax

    if jax.process_count() == 1:
        return action()
    import numpy as np
    from jax.experimental import multihost_utils

    result, error, kind = 0, None, -1
    if jax.process_index() == 0:
        try:
            result = action()
        except Exception as raised:
            error = raised
            kinds = [i for i, known in enumerate(errors) if isinstance(raised, known)]
            kind = kinds[0] if kinds else len(errors) - 1
    result, kind = multihost_utils.broadcast_one_to_all(np.array([result, kind], np.int32)).tolist()
    if error is not None:
        raise error
    if kind >= 0:
        known, words = list(errors.items())[kind]
        raise known(words)
    return result


class Agreement:
    """The largest number that any process has said, the same on all at the same call.

    Every process calls it equally often. With several, the answer is that of `lag` calls ago, which
    the devices know by then, so that a call waits for nothing that was just started.

    >>> agree = Agreement()
    >>> agree(0), agree(75), agree(0)
    (0, 75, 75)
    """

    def __init__(self, lag: int = 2) -> None:
        import jax
        import jax.numpy as jnp
        from jax.sharding import AxisType, NamedSharding, PartitionSpec

        self._largest = 0
        self._lag = lag
        self._asked: collections.deque[Any] = collections.deque()
        self._alone = jax.process_count() == 1
        if not self._alone:
            mesh = jax.make_mesh((jax.device_count(),), ("all",), axis_types=(AxisType.Auto,))
            self._mesh, self._spread = mesh, NamedSharding(mesh, PartitionSpec("all"))
            everywhere = NamedSharding(mesh, PartitionSpec())
            self._maximum = jax.jit(jnp.max, out_shardings=everywhere)

    def __call__(self, value: int) -> int:
        """Says `value` and returns the largest one that is agreed on so far."""
        self._largest = max(self._largest, value)
        if self._alone:
            return self._largest
        import jax
        import numpy as np

        own = np.full(jax.local_device_count(), self._largest, np.int32)
        spread = jax.make_array_from_process_local_data(self._spread, own)
        with jax.set_mesh(self._mesh):
            self._asked.append(self._maximum(spread))
        return int(self._asked.popleft()) if len(self._asked) > self._lag else 0


def _settings(flags: argparse.Namespace, environment: Mapping[str, str]) -> dict[str, Any] | None:
    """Arguments for `jax.distributed.initialize`; None: one process; {}: let JAX find them out."""
    given = {
        "coordinator": flags.coordinator,
        "num_processes": flags.num_processes,
        "process_id": flags.process_id,
    }
    if all(value is None for value in given.values()):
        names = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
        given = dict(zip(names, map(environment.get, names), strict=True))
        dashes = ""
    else:
        dashes = "--"
    if any(value is not None for value in given.values()):
        return _by_hand(given, dashes)
    if int(environment.get("SLURM_STEP_NUM_TASKS", 1)) > 1 or _on_tpu_pod(environment):
        return {}
    if "JOB_COMPLETION_INDEX" in environment and "KUBERNETES_SERVICE_HOST" in environment:
        return {}
    return None


def _by_hand(given: dict[str, Any], dashes: str) -> dict[str, Any]:
    missing = [dashes + name for name, value in given.items() if value is None]
    if missing:
        raise ConfigError(f"{' and '.join(missing)} missing: it takes all of {', '.join(given)}")
    (place, address), (total_name, total), (own_name, own) = given.items()
    host, _, port = str(address).rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 2**16:
        raise ConfigError(f"{dashes}{place}={address}: {_HOST_AND_PORT}")
    try:
        count, index = int(total), int(own)
    except ValueError as error:
        raise ConfigError(f"{total_name}={total}, {own_name}={own}: expected numbers") from error
    if not 0 <= index < count:
        raise ConfigError(f"{dashes}{own_name}={index}: expected 0 to {count - 1}")
    return {"coordinator_address": address, "num_processes": count, "process_id": index}


def _on_tpu_pod(environment: Mapping[str, str]) -> bool:
    if "," in environment.get("TPU_WORKER_HOSTNAMES", ""):
        return True
    if "MEGASCALE_COORDINATOR_ADDRESS" in environment:
        return True
    try:  # On a TPU VM the others are known to its metadata server alone, which JAX asks.
        from jax._src.cloud_tpu_init import running_in_cloud_tpu_vm
    except ImportError:
        return False
    return bool(running_in_cloud_tpu_vm) and "TPU_WORKER_HOSTNAMES" not in environment


def _words(settings: dict[str, Any], seconds: int) -> str:
    if not settings:
        return (
            f"the processes that the environment announces did not all meet within {seconds} s; "
            "look at the others' messages, or raise --peer_timeout"
        )
    count = settings["num_processes"]
    return (
        f"process {settings['process_id']} of {count}: the {count} processes did not all meet at "
        f"{settings['coordinator_address']} within {seconds} s; each needs the same --coordinator "
        "and --num_processes and its own --process_id, and must reach that address"
    )
