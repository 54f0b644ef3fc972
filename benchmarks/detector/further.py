"""Further clean sets as strangers bring them: what has lines, bands or a smooth end by its own nature."""

from __future__ import annotations

import numpy as np

from benchmarks.detector.examples import Examples, Rng, crops, field, unit

_16_BITS = 65535


def piano(rng: Rng) -> Examples:
    """Struck strings, all keys, a little sharp in their overtones, over faint noise."""
    n, rate = 4096, 22050
    t = np.arange(n) / rate
    out = 2e-4 * field((n,), -1.0, rng, 180)
    for x in out:
        for _ in range(rng.integers(1, 5)):
            f, start = 27.5 * 2 ** (rng.integers(12, 64) / 12), rng.integers(-n, n // 2) / rate
            since, on = np.maximum(t - start, 0), t >= start
            stiff, loud = rng.uniform(1e-4, 6e-4), 0.08 * np.exp(0.7 * rng.normal())
            for k in range(1, 16):
                own = k * f * np.sqrt(1 + stiff * k * k)
                if own < rate / 2:
                    wave = np.sin(2 * np.pi * own * since + rng.uniform(0, 6))
                    x += on * loud / k**1.3 * wave * np.exp(-since * (1.5 + 0.6 * k))
    return _sound(out, rate)


def wind(rng: Rng) -> Examples:
    """Noise through slow resonances, in gusts, of very different loudness."""
    n, rate = 4096, 16000
    f, t = np.fft.rfftfreq(n, 1 / rate), np.arange(n) / rate
    out = np.zeros((160, n))
    for x in out:
        noise = np.fft.rfft(rng.normal(size=n)) / (1 + f / 100)
        for _ in range(2):
            centre, wide = rng.uniform(250, 900), rng.uniform(30, 120)
            noise = noise * (1 + 4 * np.exp(-(((f - centre) / wide) ** 2)))
        gust = 1 + 0.6 * np.sin(2 * np.pi * rng.uniform(0.5, 4) * t + rng.uniform(0, 6))
        blown = np.fft.irfft(noise, n)
        x += 0.03 * np.exp(0.8 * rng.normal()) * gust * blown / blown.std()
    return _sound(out, rate)


def temperature(rng: Rng) -> Examples:
    """Hourly temperatures of thirty years: a day's cycle with its overtones, which clouds and seasons change."""
    n, hours = 1024, 24 * 365 * 30
    h = np.arange(hours)
    year = np.sin(2 * np.pi * h / 8766 - 1.5)
    sun = np.maximum(np.cos(2 * np.pi * (h - 14) / 24) + 0.3 * year, 0)
    clear = np.repeat(rng.beta(1, 1, hours // 24), 24)
    x = 10 * year + 4 * field((hours,), -2.2, rng)[0] + (6 + 4 * year) * sun * clear
    x = np.round(x + 0.2 * rng.normal(size=hours), 1)
    starts = rng.integers(0, hours - n, 200)
    return Examples(unit(np.stack([x[s : s + n] for s in starts]))[..., None], levels=0)


def brain_waves(rng: Rng) -> Examples:
    """Like an EEG: noise with a rhythm at 10 Hz, of another strength in each window."""
    n, rate = 1024, 256
    f = np.fft.rfftfreq(n, 1 / rate)
    out = field((n,), -1.2, rng, 200)
    for x in out:
        around = np.exp(-(((f - rng.normal(10, 0.4)) / 0.8) ** 2))
        rhythm = np.fft.irfft(np.fft.rfft(rng.normal(size=n)) * around, n)
        x *= np.exp(0.3 * rng.normal())
        x += np.exp(0.8 * rng.normal()) * rhythm / rhythm.std()
    return Examples(unit(out)[..., None], levels=0, rate=rate)


def particles(rng: Rng) -> Examples:
    """Bright particles of one small size in the dark, as flows are seeded with: nothing at fine scales."""
    n = 48
    y, x = np.mgrid[:n, :n]
    out = 0.05 + 0.01 * rng.normal(size=(200, n, n))
    for image in out:
        for cy, cx in rng.uniform(-2, n + 2, (40, 2)):
            image += rng.uniform(0.1, 0.9) * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 1.62)
    return Examples(np.round(255 * np.clip(out, 0, 1))[..., None] / 255)


def plaid(rng: Rng) -> Examples:
    """Checked cloth seen at an angle, folded and lit from one side, with fine threads."""
    pictures, shape = [], (300, 300)
    y, x = np.mgrid[:300, :300]
    for _ in range(5):
        turn, away = rng.uniform(-0.3, 0.3), 1 + rng.uniform(-3e-4, 3e-4) * y
        u = (x * np.cos(turn) + y * np.sin(turn)) * away + 1.5 * field(shape, -3.2, rng)[0]
        v = (y * np.cos(turn) - x * np.sin(turn)) * away + 1.5 * field(shape, -3.2, rng)[0]
        period = rng.uniform(17, 29)
        cloth = np.ones((*shape, 3)) * 0.75 * rng.uniform(0.6, 1, 3)
        for start, wide in ((0, 0.25), (0.4, 0.06), (0.55, 0.06)):
            colour = rng.uniform(0.1, 0.5, 3)
            for across in (u, v):
                inside = (across / period - start) % 1 < wide
                cloth[inside] = 0.5 * cloth[inside] + 0.5 * colour
        threads = 0.04 * np.sin(2 * np.pi * u / 2.9) * np.sin(2 * np.pi * v / 3.1)
        light = 0.7 + 0.12 * field(shape, -3, rng)[0]
        seen = cloth * light[..., None] + threads[..., None] + 0.01 * rng.normal(size=cloth.shape)
        pictures.append(np.uint8(np.clip(np.round(255 * seen), 0, 255)))
    return crops(pictures, 240, 64, rng)


def swell(rng: Rng) -> Examples:
    """The sea from above: waves of about one length and direction, with steep crests."""
    n = 192
    f = np.fft.fftfreq(n) * 2
    k, angle = np.hypot(f[:, None], f), np.arctan2(f[:, None], np.broadcast_to(f, (n, n)))
    k = np.maximum(k, 1e-3)
    out = []
    for _ in range(200):
        peak, towards = np.exp(rng.normal(np.log(0.08), 0.1)), rng.normal(0.6, 0.15)
        power = k**-4 * np.exp(-1.25 * (peak / k) ** 2) * np.cos((angle - towards) / 2) ** 10
        height = np.fft.ifft2(np.fft.fft2(rng.normal(size=(n, n))) * np.sqrt(power)).real
        height /= height.std()
        seen = (0.5 + 0.12 * height + 0.02 * height**2).reshape(96, 2, 96, 2).mean(axis=(1, 3))
        out.append(seen[16:80, 16:80] + 0.005 * rng.normal(size=(64, 64)))
    return Examples(np.round(255 * np.clip(np.stack(out), 0, 1))[..., None] / 255)


def fans(rng: Rng) -> Examples:
    """Clips of a fan with three blades that turns at one of four speeds, 16 frames of 20x20."""
    t, y, x = np.mgrid[:16, :20, :20]
    out = 0.3 + 0.01 * rng.normal(size=(120, 16, 20, 20))
    for clip in out:
        cy, cx = rng.uniform(6, 14, 2)
        speed = rng.choice([0.11, 0.17, 0.23, 0.31]) * rng.choice([-1, 1])
        turned = 3 * np.arctan2(y - cy, x - cx) - 2 * np.pi * speed * t + rng.uniform(0, 6)
        clip += 0.1 * field((20, 20), -3, rng)[0]
        clip += 0.4 * (np.hypot(y - cy, x - cx) < rng.uniform(5, 9)) * (np.cos(turned) > 0.2)
    return Examples(np.round(255 * np.clip(out, 0, 1))[..., None] / 255)


def _sound(x: np.ndarray, rate: float) -> Examples:
    x = np.round((np.clip(x, -1, 1) + 1) / 2 * _16_BITS) / _16_BITS
    return Examples(x[..., None], levels=_16_BITS, rate=rate)
