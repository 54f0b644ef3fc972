"""What does not belong in a data set: the parts of `sagd_jax.spectral.analysis.analyse`.

`evidence.py` gathers statistics over examples, `background.py` says what a frequency's neighbours would have
it be, `candidates.py`, `lines.py`, `runs.py` and `stripes.py` what stands out of that, each a `Candidate` of
`candidate.py`, `marks.py` and `fixed.py` what is no stationary noise; `mixtures.py` what only some examples
have, `quiet_places.py` what only the quietest part of each shows, `places.py` the bins beside a line;
`responses.py` how its power goes with that of its surroundings, `clipping.py` what limits take of it,
`verdicts.py` what follows of that, `together.py` what findings tell about each other, `search.py` the whole
search, `excess.py` the variance that was added, `kinds_of_examples.py` who has it, and `advice.py` what to do.
A `Finding` is in `finding.py`.
"""
