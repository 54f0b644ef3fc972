"""Damage to the bytes of a file, as disks, networks and wrong programs do it."""

LENGTHS = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f")


def mutated(body, rng, places=None):
    """`body` cut off, with bits or bytes changed, bytes put in or taken out, or a length made absurd.

    Args:
      body: bytes.
      rng: a NumPy generator.
      places: indices that may be hit; all, half of the time among the first 200, by default.
    """
    result = bytearray(body)
    if places is None:
        places = range(len(body) if rng.random() < 0.5 else min(len(body), 200))
    place = int(rng.choice(places))
    match rng.integers(5):
        case 0:
            del result[place:]
        case 1:
            result[place] ^= 1 << int(rng.integers(8))
        case 2:
            for other in rng.choice(places, 4).tolist():
                result[other] = int(rng.integers(256))
        case 3:
            result[place : place + int(rng.integers(9))] = rng.bytes(int(rng.integers(9)))
        case 4:
            end = min(place + 4, len(result))
            result[place:end] = LENGTHS[rng.integers(4)][: end - place]
    return bytes(result)
