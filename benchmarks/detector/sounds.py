"""Clean sets of sounds and other signals in time, and of clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.detector.examples import Examples, Rng, field, unit

LENGTH = 4096
RATE = 16000
_16_BITS = 65535


def speech(rng: Rng) -> Examples:
    """Like speech: pulses of a moving pitch through three resonances, hisses, pauses."""
    return _sound(np.stack([_utterance(rng) for _ in range(192)]))


def pink(rng: Rng) -> Examples:
    """Noise with power 1/f."""
    return _sound(0.1 * field((LENGTH,), -1.0, rng, 160))


def music(rng: Rng) -> Examples:
    """Few notes of one scale, with overtones and decay: lines of its own, but in some windows."""
    t = np.arange(LENGTH) / RATE
    notes = 220 * 2 ** (np.array([0, 2, 4, 7, 9, 12]) / 12)
    out = np.zeros((192, LENGTH))
    for x in out:
        for _ in range(3):
            start, f = rng.integers(0, LENGTH // 2), rng.choice(notes)
            s = t[: LENGTH - start]
            for k in range(1, 7):
                wave = np.sin(2 * np.pi * f * k * s + rng.uniform(0, 6))
                x[start:] += 0.1 / k * wave * np.exp(-6 * s)
        x += 1e-4 * rng.normal(size=LENGTH)
    return _sound(out)


def birds(rng: Rng) -> Examples:
    """Chirps over quiet wind."""
    t = np.arange(LENGTH) / RATE
    out = 0.003 * field((LENGTH,), -2.0, rng, 160)
    for x in out:
        for _ in range(rng.integers(1, 5)):
            at, wide, f = rng.uniform(0, t[-1]), rng.uniform(0.01, 0.05), rng.uniform(2000, 6000)
            sweep = rng.uniform(-2e4, 2e4)
            phase = 2 * np.pi * (f * (t - at) + sweep * (t - at) ** 2)
            x += 0.2 * np.exp(-(((t - at) / wide) ** 2)) * np.sin(phase)
    return _sound(out)


def hearts(rng: Rng) -> Examples:
    """Like an ECG: narrow beats at a varying rate over a slow wander, 1024 samples at 250 Hz."""
    n, rate = 1024, 250
    t = np.arange(n) / rate
    out = np.zeros((200, n))
    for x in out:
        beat = rng.uniform(0, 1)
        while beat < t[-1] + 1:
            height = rng.uniform(0.9, 1.1)
            for shift, wide, size in (
                (-0.2, 0.04, 0.1),
                (0, 0.012, 1.0),
                (0.03, 0.012, -0.2),
                (0.3, 0.07, 0.2),
            ):
                x += height * size * np.exp(-(((t - beat - shift) / wide) ** 2))
            beat += rng.normal(0.8, 0.05)
        x += 0.05 * np.sin(2 * np.pi * rng.uniform(0.1, 0.4) * t + rng.uniform(0, 6))
    out += 0.005 * rng.normal(size=out.shape)
    return Examples(unit(out)[..., None], levels=2047, rate=rate)


def machine(rng: Rng) -> Examples:
    """A sensor on a machine that turns at one speed: harmonics that are the signal itself."""
    n, rate = 1000, 1000
    t = np.arange(n) / rate
    out = 0.2 * field((n,), -1.0, rng, 160)
    for x in out:
        speed, load = 24.7 + 0.2 * rng.normal(), rng.uniform(0.5, 1.5)
        for k in range(1, 9):
            x += load / k * np.sin(2 * np.pi * k * speed * t + rng.uniform(0, 6))
    return Examples(unit(out)[..., None], levels=0, rate=rate)


def spoken(path: Path, rng: Rng) -> Examples:
    """Windows of the WAV files of a folder, as many from each speaker's as there are."""
    import soundfile

    files = sorted(path.glob("*.wav"))
    if not files:
        raise SystemExit(f"--recordings={path}: no WAV files in it")
    out: list[np.ndarray] = []
    for i in rng.permutation(len(files)):
        x, rate = soundfile.read(files[i])
        x = x if x.ndim == 1 else x[:, 0]
        if len(x) >= 2048:
            start = rng.integers(0, len(x) - 2048 + 1)
            out.append(x[start : start + 2048])
        if len(out) == 256:
            break
    return _sound(np.stack(out), rate)


def heart_record(data: Path, rng: Rng) -> Examples:
    """Windows of a real ECG with mains hum, 4096 samples at 360 Hz."""
    del rng
    x = np.load(data / "corrupted" / "ecg100.npy").astype(float)
    n = len(x) // LENGTH * LENGTH
    return Examples(np.clip(x[:n] / 2048, 0, 1).reshape(-1, LENGTH, 2), levels=2048, rate=360)


def moving_shapes(rng: Rng) -> Examples:
    """Clips of two discs that move over a still background, 8 frames of 24x24."""
    t, y, x = np.mgrid[:8, :24, :24]
    out = 0.1 * field((24, 24), -3.0, rng, 120)[:, None].repeat(8, axis=1) + 0.4
    for clip in out:
        for _ in range(2):
            cy, cx = rng.uniform(4, 20, 2)
            vy, vx = rng.uniform(-1.5, 1.5, 2)
            clip[np.hypot(y - cy - vy * t, x - cx - vx * t) < rng.uniform(2, 6)] = rng.random()
    return Examples(np.round(255 * np.clip(out, 0, 1)[..., None]) / 255)


def surveillance(rng: Rng) -> Examples:
    """Clips of one camera: the same background in all, a little noise, now and then a figure."""
    back = 0.5 + 0.15 * field((24, 24), -2.5, rng)[0]
    t, y, x = np.mgrid[:8, :24, :24]
    out = np.broadcast_to(back, (120, 8, 24, 24)).copy()
    for clip in out:
        if rng.random() < 0.5:
            at, speed = rng.uniform(0, 20), rng.uniform(-1.5, 1.5)
            clip[(np.abs(x - at - speed * t) < 2) & (np.abs(y - 14) < 5)] = rng.random()
    out += 0.01 * rng.normal(size=out.shape)
    return Examples(np.round(255 * np.clip(out, 0, 1)[..., None]) / 255)


def _utterance(rng: Rng) -> np.ndarray:
    t = np.arange(LENGTH) / RATE
    wobble = 1 + 0.1 * np.sin(2 * np.pi * rng.uniform(1, 4) * t + rng.uniform(0, 6))
    turns = np.cumsum(rng.uniform(90, 250) * wobble) / RATE
    source = np.diff(np.floor(turns), prepend=0) + 0.03 * rng.normal(size=LENGTH)
    f = np.fft.rfftfreq(2 * LENGTH, 1 / RATE)
    gain = np.ones(len(f), complex)
    for low, high, wide in ((300, 800, 80), (900, 2300, 120), (2400, 3200, 180)):
        centre = rng.uniform(low, high)
        gain /= 1 - (f / centre) ** 2 + 1j * f * wide / centre**2
    voiced = np.fft.irfft(np.fft.rfft(source, 2 * LENGTH) * gain)[:LENGTH]
    hiss = np.diff(rng.normal(size=LENGTH + 1))
    talk = np.sin(2 * np.pi * rng.uniform(2, 5) * t + rng.uniform(0, 6))
    gate = 1 / (1 + np.exp(-12 * talk))
    return 0.1 * (gate * voiced / voiced.std() + 0.3 * (1 - gate) * hiss * (rng.random() < 0.6))


def _sound(x: np.ndarray, rate: float = RATE) -> Examples:
    """Values in [-1, 1] as the examples of a file with 16 bits."""
    x = np.round((np.clip(x, -1, 1) + 1) / 2 * _16_BITS) / _16_BITS
    return Examples(x[..., None], levels=_16_BITS, rate=rate)
