"""What a candidate is taken to be, by how its power goes from example to example.

Added noise is there where the data are quiet, has a power that does not follow that of its surroundings,
and the same in every example that has it; a tone is no wider than one. What follows the data, or varies as
they do, is their own; where the examples do not tell, nothing is said.
"""

from __future__ import annotations

import math

import numpy as np

from sagd_jax.spectral.detector import finding as kinds
from sagd_jax.spectral.detector.candidate import DECIBEL, Candidate
from sagd_jax.spectral.detector.evidence import Evidence
from sagd_jax.spectral.detector.excess import unevenness
from sagd_jax.spectral.detector.finding import CORRUPTION, OWN, UNKNOWN
from sagd_jax.spectral.detector.lines import MEAN, QUIET, SOME
from sagd_jax.spectral.detector.quiet_places import PLACES
from sagd_jax.spectral.detector.responses import Response
from sagd_jax.spectral.half_grid import hermitian_multiplicity

_CONSTANT = {1: 0.3, 2: 0.22, 3: 0.22}  # largest spread of a line's power over the quiet examples
_FLAT, _FOLLOWS = 0.3, 0.6  # slopes
_SPREAD_OF_BAND, _SPREAD_OF_STRIPES = 0.15, 0.2  # an axis has few bins
_LIKELY = 6.0  # score of two kinds
_FOREMOST, _FOREMOST_BY_CHANCE = 4.0, 2.0
_ABOVE_ALL = {1: 1.0, 2: 1.3, 3: 1.2}  # the least of it
# Nats of the 10 % quantile beyond those of the mean: for one of them, and at most.
_RAISED, _MOST_RAISED = 0.15, 0.5
_VARIES = 0.3  # relative variance of N over the quiet examples
_FEWEST_SHARE = 0.08
_MOST_OF_SOME, _SEEN = 0.6, 6.5  # share, score
_QUIET_ERRORS = 5.0
_EVEN_EXCESS, _EVEN_SCORE = 0.5, 6.0  # decibels, of a band
_PLAIN_SLOPE, _PLAIN_SPREAD, _PLAIN_EXCESS = 0.15, 0.1, 5.0
_NARROW = 5  # sets, of a band with lines in it
_BESIDE_AXIS = 2  # bins
_SURE_STRIPES, _SPREAD_OF_SURE = 25.0, 0.5  # score
_SURELY_SHARP, _MUCH = 100.0, 0.2  # score of a band; share of the data's energy
_UNEVEN, _ERRORS_OF_SHAPE = 0.05, 1.5  # root mean square, of N
# Of a band, whose background is not the same in loud examples: shares, decibels, standard errors.
_STEADY_SLOPES = (-0.7, 0.5)
_STEADY_SPREAD, _STEADY_SHARE, _STEADY_ERRORS = 0.14, 0.7, 20.0
_STEADY_EXCESS, _STEADY_SCORE, _STEADY_WIDTH = 1.5, 4.5, 1 / 3
_HIGH_ERRORS = 60.0
_SCORE_OF_CHANCE, _SURE_SCORE = 4.7, 5.5  # of the mean, where its chance is known
# Breadth of what is no tone: Hann's taper leaves 1e-4 of a tone three bins away, no taper 0.01.
_BROAD = {True: 0.003, False: 0.03}
_ONE_PHASE = 0.1  # coherence over the number of examples
_ALSO_BESIDE = 4.0  # coherence; of independent phases, one bin in 55 has more
_ROUNDING = 2e-5  # variance of 8-bit pictures' rounding in [-1, 1], and some more
_DOMINANT, _FEWEST_BINS, _MOST_RATIO = 6.0, 8, 2.5  # decibels; of a band; of <|F|^4>
# <|F|^4> / <|F|^2>^2: 2 but for chance; of sounds few bins tell.
_GAUSSIAN_MOMENT = {1: (1.8, 2.25), 2: (1.9, 2.1)}
_LOWEST_BAND = 0.05  # cycles per sample: the voice's pitch lies below it


def verdict_of(evidence: Evidence, candidate: Candidate, response: Response) -> str:
    """`CORRUPTION`, `OWN` or `UNKNOWN`, of one candidate by itself."""
    if candidate.kind in (kinds.LINE, kinds.STRIPES) and of_a_layout(evidence, candidate):
        return UNKNOWN
    if candidate.kind == kinds.LINE:
        return _of_line(evidence, candidate, response)
    if candidate.kind == kinds.STRIPES:
        if candidate.seen_in == SOME:
            # Only examples that are not all as loud tell: of print and walls some have edges as well.
            tells = not math.isnan(response.slope)
            return CORRUPTION if tells and _floor_of_some(response, _SPREAD_OF_STRIPES) else OWN
        alike = response.quiet_score >= _QUIET_ERRORS and response.spread < _SPREAD_OF_SURE
        sure = candidate.score > _SURE_STRIPES or alike
        return CORRUPTION if candidate.seen_in == QUIET and sure else UNKNOWN
    verdict = _of_run(evidence, candidate, response)
    if verdict != CORRUPTION:
        return verdict
    run = candidate.run
    between = candidate.touched and run is not None and run.last - run.first < _NARROW
    if between and (response.even or not _is_steady(evidence, candidate, response)):
        return UNKNOWN  # between lines of a frame, or of another layout, there are such, and beside those of a hide
    # Examples that are all as loud tell a band by its shape alone, and much of what they are is their own.
    shaped = response.even and candidate.kind == kinds.BAND
    shaped = shaped and _energy(evidence, candidate) > _MUCH and not _is_white(evidence, candidate)
    return verdict if _is_gaussian(evidence, candidate, response) and not shaped else UNKNOWN


def is_tone(evidence: Evidence, candidate: Candidate) -> bool:
    """Whether a line is no wider than a tone; of clips, whose axes are short, it always counts as one."""
    return candidate.breadth < _BROAD[evidence.tapered] or len(evidence.shape) == 3


def of_a_layout(evidence: Evidence, candidate: Candidate) -> bool:
    """Whether it has one phase in all examples, and the frequencies around it too: a frame, a still scene."""
    coherence = evidence.coherence(candidate.view)
    line = candidate.line
    own = float(np.median(coherence[candidate.core]) if line is None else coherence[line.place])
    if len(evidence.shape) == 3 and line is not None:
        n = evidence.shape[0]
        if (line.place[0] + 1) % n <= 2:  # a scene that does not move
            return own > _ONE_PHASE * evidence.count
    beside = float(np.median(coherence[candidate.around]))
    return own > _ONE_PHASE * evidence.count and beside > _ALSO_BESIDE


def _is_gaussian(evidence: Evidence, candidate: Candidate, response: Response) -> bool:
    """Whether the power goes from example to example as that of Gaussian noise does, where it is almost all there is.

    <|F|^4> is then 2 <|F|^2>^2 in those that have it. The ridges of a finger have another pitch in each example.
    """
    core, mean = candidate.core > 0, evidence.mean(candidate.view)
    above = mean[core].mean() / max(candidate.ratio * mean[candidate.around > 0].mean(), 1e-300)
    if DECIBEL * math.log(max(above, 1e-300)) < _DOMINANT or core.sum() < _FEWEST_BINS:
        return True
    if candidate.seen_in == QUIET and _plain_floor(response):
        return True  # whatever the loud examples, of which the mean is, have there
    return _fourth_moment(evidence, candidate, core) * response.share < _MOST_RATIO


def _is_white(evidence: Evidence, candidate: Candidate) -> bool:
    """Whether a band is as high in all of its sets, as noise is that a filter let through; ridges of one pitch are not."""
    assert candidate.family is not None and candidate.run is not None
    if candidate.family.geometric or candidate.run.score > _SURELY_SHARP:
        return True
    off, chance = unevenness(evidence, candidate)
    return off < _UNEVEN + _ERRORS_OF_SHAPE * chance


def _energy(evidence: Evidence, candidate: Candidate) -> float:
    """Share of the data's energy in its bins."""
    energy = evidence.mean("all") * hermitian_multiplicity(evidence.shape)
    return float(energy[candidate.core > 0].sum() / energy.sum())


def _is_stationary(evidence: Evidence, candidate: Candidate, response: Response) -> bool:
    """Whether all examples are as loud, and what is around goes from one to the next as a Gaussian process does.

    Only then is chance known. Layers, or the parts of one object, may be as loud in all examples, and do not.
    """
    if not response.even:
        return False
    ratio = _fourth_moment(evidence, candidate, candidate.around > 0)
    least, most = _GAUSSIAN_MOMENT[min(len(evidence.shape), 2)]
    several = evidence.channels > 1 and candidate.view == "all"
    return (several or ratio > least) and ratio < most


def _fourth_moment(evidence: Evidence, candidate: Candidate, bins: np.ndarray) -> float:
    """<|F|^4> / <|F|^2>^2, the median over these bins; of the mean power of several channels it is less."""
    view = evidence.view[candidate.view]
    ratio = view.squares[bins] * evidence.count / np.square(np.maximum(view.total[bins], 1e-300))
    return float(np.median(ratio))


def _rounding(evidence: Evidence) -> float:
    """N that the rounding of 8-bit pictures may make; of sounds, and of data of a small scale, less."""
    if len(evidence.shape) == 1:
        return 0.0
    return _ROUNDING * min(float(evidence.mean("all").mean()) / 0.01, 1.0)


def _of_line(evidence: Evidence, candidate: Candidate, response: Response) -> str:
    # Examples that are all as loud tell nothing by the slope: the line has to be as constant as a tone.
    flat = 0.15 if response.share > 0.9 else 0.08
    limit = flat if math.isnan(response.slope) else _CONSTANT[len(evidence.shape)]
    # On an even background weak tones scatter as the background does; elsewhere that much is not granted.
    granted = 2 * response.spread_error
    constant = response.spread <= limit + (granted if response.even else min(granted, limit))
    assert candidate.line is not None
    stationary = _is_stationary(evidence, candidate, response)
    foremost = candidate.foremost > _FOREMOST_BY_CHANCE
    by_chance = stationary and foremost and candidate.line.score[MEAN] > _SURE_SCORE
    sure = response.quiet_score >= _QUIET_ERRORS or by_chance
    sure &= response.share >= _FEWEST_SHARE
    few = response.share < _MOST_OF_SOME
    # What all examples have is seen in their mean, or where they are quiet, by the scatter of the spectrum or
    # far above everything near.
    score = candidate.line.score
    most = max(score[MEAN], score[QUIET])
    near = len(evidence.shape) > 1 and _FOREMOST < candidate.foremost < math.inf
    sure &= few or by_chance or most > _SEEN or near
    # That two kinds of examples are likelier than one says something of what some have.
    likely = candidate.line.likely > _LIKELY and (few or by_chance or near)
    likely &= stationary or not response.even
    # Where chance is known a little is enough.
    little = stationary and foremost and score[MEAN] > _SCORE_OF_CHANCE
    seen = response.level > _rounding(evidence)
    seen &= likely or little or _stands_out(candidate)
    unmoved = response.even or _unmoved(response)
    # A corner or an edge of what is wide stands out of most bins near it, but not of all.
    tone = is_tone(evidence, candidate) and candidate.foremost > _ABOVE_ALL[len(evidence.shape)]
    tone &= few or _is_a_floor_of_all(evidence, candidate)
    tone &= not _is_a_flank(evidence, candidate)
    if seen and unmoved and constant and sure and tone:
        return CORRUPTION
    return _otherwise(response)


def _stands_out(candidate: Candidate) -> bool:
    line = candidate.line
    assert line is not None
    score, decibels = line.score, {name: DECIBEL * own for name, own in line.excess.items()}
    if (score[SOME] > 8 and line.excess[SOME] > 0.04) or (score[QUIET] > 5 and decibels[QUIET] > 5):
        return True
    if score[MEAN] > 6 and decibels[MEAN] > 5.5:
        return True
    # What is added stands out the more the quieter the data are.
    grows = decibels[QUIET] > decibels[MEAN] > 3
    return grows and score[MEAN] > 8 and score[QUIET] > 4


def _is_a_flank(evidence: Evidence, candidate: Candidate) -> bool:
    """Whether it lies beside an axis on which there is more: what objects have that are drawn along the axes."""
    assert candidate.line is not None
    place, mean = candidate.line.place, evidence.mean(candidate.view)
    for axis, (k, n) in enumerate(zip(place, evidence.shape, strict=True)):
        if 0 < min(k, n - k) <= _BESIDE_AXIS and sum(map(bool, place)) > 1:
            on_axis = (*place[:axis], 0, *place[axis + 1 :])
            if mean[on_axis] > mean[place]:
                return True
    return False


def _is_a_floor_of_all(evidence: Evidence, candidate: Candidate) -> bool:
    """Whether the 10 % quantile over the examples is raised by more than the mean, as by a tone that all have.

    By Rice's distribution (`mixtures.py`): 3 dB of the mean are 4.1 dB of the quantile, 6 dB are 10, and 10 dB lie
    between them from there on; more where some examples are quiet. Half of that, or less, is asked for, of one
    coefficient; of the mean of several channels any.
    """
    assert candidate.line is not None
    more = candidate.line.excess[QUIET] - candidate.line.excess[MEAN]
    several = evidence.channels > 1 and candidate.view == "all"
    return more > (0.0 if several else min(_RAISED * candidate.line.excess[MEAN], _MOST_RAISED))


def _unmoved(response: Response) -> bool:
    """Whether its power is the same whatever surrounds it, as far as so many examples tell."""
    slope, error = response.slope, response.slope_error
    if math.isnan(slope):
        return True
    return slope <= _FOLLOWS and slope - 2 * error <= _FLAT and slope + 2 * error >= -_FLAT


def _of_run(evidence: Evidence, candidate: Candidate, response: Response) -> str:
    run, axes = candidate.run, len(evidence.shape)
    assert run is not None
    if response.level <= _rounding(evidence):
        return UNKNOWN
    score = run.score
    if axes > 1 and candidate.kind == kinds.BAND and _is_steady(evidence, candidate, response):
        return CORRUPTION
    if run.narrow:
        # Without edges of its own it has to be the same in loud and in quiet examples; of one stationary process
        # it may stand out the most in any part of them.
        seen = candidate.seen_in == MEAN or (response.even and response.share > 0.9)
        even = seen and candidate.quiet_score > 0.7 * candidate.excess
        even &= response.share > 0.5 and not response.slope >= _FOLLOWS
        sure = score >= 10 and candidate.excess * DECIBEL > 1.5
        some = axes > 1 and candidate.kind == kinds.BAND and not run.open_ended
        some &= _floor_of_some(response, _SPREAD_OF_BAND)
        return CORRUPTION if sure and (even or some) else _otherwise(response)
    assert candidate.family is not None
    if axes == 1 and candidate.family.low[run.first] < _LOWEST_BAND:
        return _otherwise(response)
    needed = 10.0 if axes == 1 else 7.0
    if run.open_ended:
        needed = 2 * needed
    if _plain_floor(response) and candidate.excess * DECIBEL > _PLAIN_EXCESS:
        needed = min(needed, _EVEN_SCORE)
    large = candidate.excess * DECIBEL > (6.0 if axes == 1 or run.open_ended else 2.0)
    if candidate.kind == kinds.WEDGE:
        large = candidate.excess * DECIBEL > 6.0
    elif (
        _is_stationary(evidence, candidate, response)
        and candidate.excess * DECIBEL > _EVEN_EXCESS
        and not run.open_ended
    ):
        # Examples of one stationary process have no sharp edges but those of what was added, or taken away.
        large, needed = True, _EVEN_SCORE
    # In the mean it counts only where the quiet examples show as much of it.
    quiet = candidate.seen_in == QUIET or candidate.quiet_score > 0.7 * candidate.excess
    # Quiet examples that show it have to have it, and one power of it: a floor is as high in all of them.
    floor = response.quiet_score >= _QUIET_ERRORS and _as_high(response)
    # Noise that is added does not go down where the data are louder.
    floor &= not response.slope + 2 * response.slope_error < -_FLAT
    if score >= needed and large and quiet and floor:
        return CORRUPTION
    some = candidate.seen_in in (SOME, MEAN) and axes > 1 and score >= 5
    if (
        some
        and _floor_of_some(response, _SPREAD_OF_BAND)
        and not run.open_ended
        and candidate.kind == kinds.BAND
    ):
        return CORRUPTION
    return _otherwise(response)


def _floor_of_some(response: Response, most: float) -> bool:
    """Whether only some examples have it: the same power in each of them, whatever else they hold."""
    unmoved = abs(response.slope) <= _FLAT or math.isnan(response.slope)
    some = _FEWEST_SHARE <= response.share < 0.9
    return some and unmoved and response.spread < most and response.quiet_score >= 15


def _plain_floor(response: Response) -> bool:
    """Whether all examples have one power of it, as exactly as tells it from anything that data do."""
    unmoved = abs(response.slope) + 2 * response.slope_error < _PLAIN_SLOPE
    alike = response.spread + 2 * response.spread_error < _PLAIN_SPREAD
    return response.share > 0.9 and unmoved and alike and response.quiet_score >= 15


def _is_steady(evidence: Evidence, candidate: Candidate, response: Response) -> bool:
    """Whether a band has one power in nearly all examples, whatever else they hold: then it needs no sharp edges.

    Its slope is uncertain by the background's course in loud examples; what is the data's own varies by more, or
    follows them with a slope of a half and above.
    """
    run, family = candidate.run, candidate.family
    assert run is not None and family is not None
    slope, error = response.slope, response.slope_error
    least, most = _STEADY_SLOPES
    unmoved = slope - error > least and slope + error < most
    if response.even:
        # What is as loud in all tells nothing by the slope: it has to be high, and white.
        high = candidate.excess * DECIBEL > _PLAIN_EXCESS
        high &= response.quiet_score > _HIGH_ERRORS
        unmoved = high and _is_white(evidence, candidate)
    alike = response.spread + 2 * response.spread_error < _STEADY_SPREAD
    alike &= response.share > _STEADY_SHARE and response.quiet_score > _STEADY_ERRORS
    narrow = not run.open_ended and run.last - run.first < _STEADY_WIDTH * len(family.low)
    seen = candidate.excess * DECIBEL > _STEADY_EXCESS and run.score >= _STEADY_SCORE
    return alike and narrow and seen and unmoved


def _as_high(response: Response) -> bool:
    """Whether N may be one number in all examples that have it, as far as so many tell."""
    return response.spread - 2 * response.spread_error <= _VARIES


def _otherwise(response: Response) -> str:
    follows = not math.isnan(response.slope) and response.slope >= _FOLLOWS
    varies = not response.even and not _as_high(response)
    return OWN if follows or varies or response.share < _FEWEST_SHARE / 2 else UNKNOWN


def is_floor(candidate: Candidate, response: Response) -> bool | None:
    """Whether it is a floor, as `Finding.floor` says."""
    quiet = candidate.seen_in in (QUIET, PLACES)
    if math.isnan(response.slope):
        return True if quiet else None
    if response.slope <= (0.5 if quiet else _FLAT):
        return True
    return False if response.slope >= _FOLLOWS else None
