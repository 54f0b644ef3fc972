"""The flags of `python -m sagd_jax.evaluate`."""

from __future__ import annotations

import argparse
from pathlib import Path

from sagd_jax.diffusion.samplers import METHODS, SAMPLERS
from sagd_jax.diffusion.time_grids import GRIDS
from sagd_jax.system.commandline import Parser, a_class, add_options, at_least, number
from sagd_jax.system.schema import LARGEST_SEED


def evaluation_parser() -> Parser:
    """A parser that knows all of them."""
    parser = Parser(
        prog="python -m sagd_jax.evaluate",
        description="Judge a checkpoint's samples, drawn here or by sample.py, against its data.",
        epilog="Writes evaluation.json with what it was computed by, after each metric, and the samples "
        "that it draws; run again with the same flags, it computes what is missing. Exit status: 0 "
        "finished, 2 bad input, 75 stopped by SIGTERM (requeue it), 130 by Ctrl-C.",
    )
    parser.add_argument(
        "--workdir",
        required=True,
        help="directory of a training run, or the name of a ready one: digits",
    )
    parser.add_allow()
    parser.add_argument(
        "--metrics",
        type=_words,
        help="NAME or NAME:FEATURES, with commas between them; features are pixels, classifier or "
        "module:function (default: all that need no download)",
    )
    parser.add_argument(
        "--samples", help="judge these: a folder of images or of sample.py, or an .npz"
    )
    parser.add_argument("--max_samples", type=at_least(1), help="of --samples; default: all")
    parser.add_argument(
        "--out", help="directory to write to (default: evaluation/step_N in the workdir)"
    )
    parser.add_argument(
        "--num_samples", type=at_least(1), default=1000, help="to draw; default 1000"
    )
    parser.add_argument(
        "--num_steps",
        type=_whole_numbers,
        help="of sampling, or several: 4,8,16,50; default 50, of a consistency model 2",
    )
    parser.add_argument(
        "--seed", type=at_least(0, LARGEST_SEED), default=0, help="of the samples; default 0"
    )
    parser.add_argument("--step", type=at_least(0), help="checkpoint (default: the newest)")
    parser.add_argument(
        "--method", choices=METHODS, help="default ddim; a consistency model has a way of its own"
    )
    add_options(parser, SAMPLERS, "method")
    parser.add_argument("--times", choices=tuple(GRIDS), default="uniform", help="default uniform")
    add_options(parser, GRIDS, "times")
    parser.add_argument("--class", dest="label", type=a_class, help="default: all classes in turn")
    parser.add_argument("--guidance", type=number(), default=1.0, help="scale; 1 is none")
    parser.add_argument(
        "--clip", action=argparse.BooleanOptionalAction, help="as of sample.py, with its default"
    )
    parser.add_argument("--batch_size", type=at_least(1), default=250, help="default 250")
    parser.add_argument("--no_ema", action="store_true", help="take the raw weights")
    parser.add_argument("--split", help="of the run's data to compare with; default the run's own")
    parser.add_argument(
        "--held_out",
        help="split for the floors; default test, or else half of the reference",
    )
    parser.add_argument("--num_reference", type=at_least(2), help="examples of it; default: all")
    parser.add_argument(
        "--dir",
        help="where the data is, if the run read a folder or file",
    )
    parser.add_argument(
        "--classifier_seed", type=at_least(0, LARGEST_SEED), default=0, help="default 0"
    )
    parser.add_argument(
        "--band",
        type=_band,
        metavar="LOW:HIGH",
        help="of the corruption, in max (default: what the run omits)",
    )
    parser.add_argument(
        "--remove_band",
        type=_band,
        metavar="LOW:HIGH",
        help="of the samples, in max, taken out of them before they are judged",
    )
    parser.add_argument(
        "--save_reference", metavar="DIR", help="keep the reference's statistics there"
    )
    parser.add_argument(
        "--reference",
        metavar="PLACE",
        help="statistics of --save_reference, a folder or file",
    )
    parser.add_argument(
        "--fid_weights", type=_file, metavar="FILE", help="of torch-fidelity's Inception network"
    )
    parser.add_argument(
        "--prc_weights", type=_file, metavar="FILE", help="of torch-fidelity's VGG network"
    )
    parser.add_argument(
        "--cache",
        help="for the classifier and features, or off (default: the user's cache)",
    )
    return parser


def _band(text: str) -> tuple[float, float]:
    low, colon, high = text.partition(":")
    band = number(0, 1)(low), number(0, 1)(high if colon else "")
    if band[0] >= band[1]:
        raise argparse.ArgumentTypeError(f"{text}: expected LOW:HIGH, LOW below HIGH")
    return band


def _whole_numbers(text: str) -> list[int]:
    try:
        values = [at_least(1)(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text}: expected whole numbers, as in 4,8,16") from None
    if len(set(values)) < len(values):
        raise argparse.ArgumentTypeError(f"{text}: one number twice")
    return values


def _file(text: str) -> Path:
    return Path(text).expanduser()


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",")]
