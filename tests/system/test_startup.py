"""What a program sets for its process while it runs, and puts back."""

import gc

from sagd_jax.system.commandline import Parser
from sagd_jax.system.startup import started


def test_the_collector_rests_while_a_program_runs():
    before = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    try:
        with started(Parser(prog="program"), [], several=False):
            assert gc.get_threshold()[0] > 10_000
        assert gc.get_threshold() == (700, 10, 10)
    finally:
        gc.set_threshold(*before)
