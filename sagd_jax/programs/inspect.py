"""The program `python -m sagd_jax.inspect`: says what the checkpoints of a work directory hold."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

from sagd_jax.system.commandline import Parser, at_least, one_line_errors


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the steps, the network, the data, the noise and the configuration."""
    parser = Parser(
        prog="python -m sagd_jax.inspect",
        description="Says what a checkpoint of a training run holds: its steps, data, network, "
        "schedule, noise and configuration. Every file of it is verified first.",
    )
    parser.add_argument(
        "workdir", help="directory of a training run, or the name of a ready one: digits"
    )
    parser.add_allow()
    parser.add_argument(
        "--step", type=at_least(0), help="checkpoint (default: the newest sound one)"
    )
    parser.add_argument(
        "--all", action="store_true", help="show the fields of the config that have no effect, too"
    )
    with one_line_errors(parser.prog):
        flags = parser.parse_args(argv)
        # Imported late: a misspelt flag should not wait for the libraries.
        import jax

        from sagd_jax.run.checkpoints import Checkpoints
        from sagd_jax.run.ready import place_of
        from sagd_jax.run.saved import load_run
        from sagd_jax.show.words import describe_covariance, numbers
        from sagd_jax.system import schema

        run = load_run(flags.workdir, flags.step, allow=flags.allow)
        steps = Checkpoints(place_of(flags.workdir), read_only=True).steps()
        data, config = run.record.data, run.record.config
        count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(run.params))
        noise = describe_covariance(run.diffusion.covariance, data.shape[-1], config.noise.kind)
        print(f"steps     {', '.join(map(str, steps))}; this is {run.step}, every file verified")
        print(f"written   by sagd_jax {run.record.sagd_jax} on jax {run.record.jax}")
        print(
            f"data      {config.data.name}: {data.num_examples} of shape {data.shape}, {data.dtype} "
            f"in [{numbers(data.low)}, {numbers(data.high)}], {data.num_classes or 'no'} classes"
        )
        print(
            f"network   {type(run.model).__name__}, {count:,} parameters, predicts "
            f"{config.model.prediction}, trained by {config.objective.kind}"
        )
        print(f"schedule  {config.schedule.kind}: {run.diffusion.schedule}")
        print(f"noise     {noise}")
        fields = schema.as_dict(config) if flags.all else schema.in_effect(config)
        print("config    " + json.dumps(fields, indent=1).replace("\n", "\n  "))
        if not flags.all:
            print("          (the fields that have an effect; --all shows the others)")
        return 0
