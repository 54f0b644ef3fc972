"""Where something may stand out: lines, runs of rings and sectors, rows and columns.

Lines come first; a run in which nothing but a line is seen is none of its own.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sagd_jax.spectral.detector import finding as kinds
from sagd_jax.spectral.detector.background import local_background
from sagd_jax.spectral.detector.candidate import Candidate
from sagd_jax.spectral.detector.evidence import Evidence
from sagd_jax.spectral.detector.families import Family
from sagd_jax.spectral.detector.lines import (
    MEAN,
    QUANTILE,
    QUIET,
    SOME,
    Line,
    breadth_of,
    find_lines,
    foremost,
    in_some,
    refined,
    series,
    spread_of_tone,
)
from sagd_jax.spectral.detector.places import aside, point, sharp_control
from sagd_jax.spectral.detector.runs import Run, background_of_run, beside, is_part, runs
from sagd_jax.spectral.detector.stripes import stripes_of
from sagd_jax.spectral.half_grid import dilate, opposite, to_full_grid, to_half_grid

_EDGE = 4.5  # lowest score of an edge of a run
_TINY = 1e-13
# Times the score of most bins of a run, and a line is none of them: the less, if the mean shows it too.
_BEYOND, _FAR_BEYOND = 3.0, 10.0
_WITHOUT_LINES = 0.7  # of a run's height
_BY_CHANCE, _HIGH = 2.0, 1.5  # standard errors; nats of a run
_ABOVE = 0.25  # nats of the mean: a line of 6 dB in a tenth of the examples


def candidates(
    evidence: Evidence, mixed: tuple[np.ndarray, np.ndarray] | None = None
) -> list[Candidate]:
    """All of them, over all views; one that all channels together show is not said again of each.

    `mixed`: of `mixtures.two_kinds`.
    """
    result: list[Candidate] = []
    asked: list[Candidate] = []
    for view in evidence.view:
        taken = _union([c.core for c in result], evidence)
        near = dilate_half(taken, evidence.shape, 2)
        own = mixed if view == "all" else None
        found = _of_lines(evidence, view, near, own)
        if found:
            # Bins of a band stand out of those around it one by one, too: they are no lines.
            wide = _of_runs(evidence, view, near)
            found = [c for c in found if not _part_of_a_run(evidence, c, wide, own)]
        # What only the likelihood shows of a bin is too little of the mean to be mistaken for a run.
        sure = [c.core for c in found if c.line is None or not c.line.only_likely]
        lines = dilate_half(_union(sure, evidence) | taken, evidence.shape, 2)
        stripes = stripes_of(evidence, view) if len(evidence.shape) == 2 else []
        sure_stripes = [c for c in stripes if c.seen_in != SOME]
        found += sure_stripes
        if view == "all":
            asked += [c for c in stripes if c.seen_in == SOME]
        of_runs = _of_runs(evidence, view, lines)
        axes = {c.axis for c in sure_stripes + result if c.kind == kinds.STRIPES}
        of_runs = [c for c in of_runs if not on_axes(c, axes)]
        found += of_runs
        result += [c for c in found if not (c.core & taken).sum() > 0.3 * c.core.sum()]
    # Those are no candidates by what is seen, and take no bins from others.
    return result + asked


def on_axes(candidate: Candidate, axes: set[int]) -> bool:
    """Whether a wedge is what rows or columns, already found, look like."""
    if candidate.kind != kinds.WEDGE or not axes:
        return False
    family, run = candidate.family, candidate.run
    assert family is not None and run is not None
    inside = {k % len(family.low) for k in range(run.first - 1, run.last + 2)}
    return any((len(family.low) // 2 if axis == 0 else 0) in inside for axis in axes)


def _part_of_a_run(
    evidence: Evidence,
    candidate: Candidate,
    of_runs: list[Candidate],
    mixed: tuple[np.ndarray, np.ndarray] | None,
) -> bool:
    """Whether a line stands no higher than the run in which it lies: along an axis a band is short."""
    if candidate.kind != kinds.LINE or not of_runs:
        return False
    values = evidence.quantile(candidate.view, QUANTILE)
    means = np.log(evidence.mean(candidate.view) + _TINY)
    assert candidate.line is not None
    place = candidate.line.place
    for run in of_runs:
        assert run.family is not None and run.run is not None
        edge = run.family.mask(max(run.run.first - 1, 0), run.run.last + 1)
        if not edge[place] or run.kind != kinds.BAND:
            continue
        heights = [v[place] - np.median(v[run.core]) for v in (values, means)]
        scores = np.zeros(means.shape) if mixed is None else mixed[1]
        above = scores[place] / max(np.quantile(scores[run.core], 0.95), _TINY)
        likely = above > (_BEYOND if heights[-1] > _ABOVE else _FAR_BEYOND)
        # At the end of the spectrum most bins around lie beside the run, and the likelihood tells of a high run.
        least = _ABOVE if run.excess > _HIGH else _BY_CHANCE / math.sqrt(max(evidence.count, 1))
        likely = likely and heights[-1] > least
        if max(heights) < 1.5 and not likely:
            return True
    return False


def dilate_half(mask: np.ndarray, shape: tuple[int, ...], distance: float) -> np.ndarray:
    """The bins of the half grid within a distance of a set of it."""
    full = to_full_grid(mask, shape)
    return to_half_grid(dilate(full | opposite(full), distance))


def _union(masks: list[np.ndarray], evidence: Evidence) -> np.ndarray:
    result = np.zeros(evidence.view["all"].total.shape, bool)
    for mask in masks:
        result |= mask
    return result


def _of_lines(
    evidence: Evidence,
    view: str,
    taken: np.ndarray,
    mixed: tuple[np.ndarray, np.ndarray] | None,
) -> list[Candidate]:
    shape = evidence.shape
    lines, background = find_lines(evidence, view, mixed)
    lines = [line for line in lines if not taken[line.place]]
    if not lines:
        return []
    power = np.exp(background)
    # Where the data are quiet their own power does not move the frequency.
    quiet, _ = series(evidence, view)[QUIET]
    below, _ = local_background(quiet, shape)
    added = {
        QUIET: np.maximum(np.exp(quiet) - np.exp(below), 0),
        MEAN: np.maximum(evidence.mean(view) - power, 0),
    }
    frequencies = [
        refined(line, added[QUIET if line.score[QUIET] > 5 else MEAN], shape, evidence.tapered)
        for line in lines
    ]
    everything = _union([point(line.place, shape, 2.3) for line in lines], evidence)
    above = [
        to_full_grid(own - local_background(own, shape)[0], shape)
        for own, _ in series(evidence, view).values()
    ]
    # What few examples have is seen in neither.
    few = in_some(evidence, view) if mixed is None else mixed
    above.append(to_full_grid(few[0], shape))
    result = []
    for line, frequency in zip(lines, frequencies, strict=True):
        seen = SOME if line.only_likely else max(line.score, key=lambda name: line.score[name])
        in_db = MEAN if seen == SOME else seen
        shown, error = series(evidence, view)[QUIET if in_quiet(line) else MEAN]
        _, scale = local_background(shown, shape, error)
        rough = float(scale[line.place])
        result.append(
            Candidate(
                kinds.LINE,
                view,
                line.excess[in_db],
                line.likely if line.only_likely else line.score[seen],
                seen,
                **bins_of_line(evidence, line, frequency, power, everything),
                quiet_score=line.score[QUIET],
                breadth=breadth_of(line.place, np.exp(shown), shape, rough if rough < 9 else error),
                foremost=foremost(line.place, [o.place for o in lines if o is not line], above),
            )
        )
    return result


def bins_of_line(
    evidence: Evidence,
    line: Line,
    frequency: tuple[float, ...],
    power: np.ndarray,
    taken: np.ndarray,
) -> dict[str, Any]:
    """What a candidate that is a line is measured by: its core, what is around it, and a control.

    power: the background of the mean power; taken: the bins of all lines.
    """
    shape = evidence.shape
    core = point(line.place, shape, 1)
    around = point(line.place, shape, 5.6) & ~taken
    if around.sum() < 4:
        around = point(line.place, shape, 9.5) & ~point(line.place, shape, 2.3)
    control, moved = aside(line.place, shape, taken, around)
    around &= ~control
    sharp = spread_of_tone(frequency, shape, evidence.tapered) * core
    return {
        "core": core,
        "around": around,
        "control": control,
        "ratio": float(power[core].mean() / power[around].mean()),
        "sharp": sharp / sharp.sum(),
        "sharp_control": sharp_control(frequency, moved, evidence, control),
        "line": line,
        "frequency": frequency,
        "background": power,
    }


def in_quiet(line: Line) -> bool:
    """Whether a line stands out more where the data are quiet."""
    return line.excess[QUIET] > line.excess[MEAN]


def _of_runs(evidence: Evidence, view: str, lines: np.ndarray) -> list[Candidate]:
    found: list[tuple[int, Run, str, dict[str, np.ndarray]]] = []
    least = 0.5 / math.sqrt(max(evidence.count, 1))
    for number, family in enumerate(evidence.families):
        powers = evidence.set_powers(view, number)
        logs = np.log(powers + _TINY)
        profiles = {
            MEAN: np.log(powers.mean(axis=0) + _TINY),
            QUIET: np.quantile(logs, QUANTILE, axis=0),
            SOME: np.quantile(logs, 0.95, axis=0),
        }
        for name, profile in profiles.items():
            found += [(number, run, name, profiles) for run in runs(family, profile, least, _EDGE)]
    # Of a run whose edges are soft, and seen in wide sets alone, narrow ones show parts.
    families = evidence.families
    whole = [(families[number], run) for number, run, _, _ in found if not run.narrow]
    found = [one for one in found if not is_part(families[one[0]], one[1], whole)]
    found.sort(key=lambda one: (one[0], -one[1].score))
    result: list[Candidate] = []
    for number, run, name, profiles in found:
        made = _of_run(evidence, view, number, run, name, profiles, lines)
        if made is not None and not any((made.core & c.core).any() for c in result):
            result.append(made)
    return result


def _of_run(
    evidence: Evidence,
    view: str,
    number: int,
    run: Run,
    name: str,
    profiles: dict[str, np.ndarray],
    lines: np.ndarray,
) -> Candidate | None:
    family = evidence.families[number]
    core = family.mask(run.first, run.last)
    in_lines = core & lines
    width = run.last - run.first + 1
    # One dimension: lines that the search for them names or not; two sets of bins are no band.
    single = len(evidence.shape) == 1
    if (single and width < 3) or in_lines.sum() > 0.5 * core.sum():
        return None
    doubted = in_lines.any() and (width < 6 or run.narrow)
    if doubted and (single or family.geometric):
        return None
    core &= ~in_lines
    below, above = beside(family, run)
    around = _sets(family, below + above) & ~lines
    if not core.any() or not around.any():
        return None
    profile = profiles[name]
    inside = [k % len(profile) for k in range(run.first, run.last + 1)]
    base = background_of_run(profiles[MEAN], family, run)
    own = background_of_run(profile, family, run)
    if doubted:  # it may be these lines and nothing else
        values = evidence.quantile(view, QUANTILE)
        if name == MEAN:
            values = np.log(evidence.mean(view) + _TINY)
        course = float(own.mean() - profile[below + above].mean())
        left = float(values[core].mean() - values[around].mean()) - course
        if name == SOME or left < _WITHOUT_LINES * float((profile[inside] - own).mean()):
            return None
    ratio = float(np.exp(base).mean() / np.exp(profiles[MEAN][below + above]).mean())
    quiet = background_of_run(profiles[QUIET], family, run)
    return Candidate(
        kinds.BAND if family.kind == "band" else kinds.WEDGE,
        view,
        float((profile[inside] - own).mean()),
        run.score,
        name,
        core,
        around,
        _sets(family, below or above) & ~lines,
        ratio=ratio,
        run=run,
        family=family,
        family_number=number,
        touched=bool(in_lines.any()),
        quiet_score=float((profiles[QUIET][inside] - quiet).mean()),
    )


def _sets(family: Family, numbers: list[int]) -> np.ndarray:
    return np.isin(family.index, numbers)
