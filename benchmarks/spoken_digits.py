"""Make the spoken digits of the laboratory: the ten words in 28 synthetic voices and 3 speeds, as log-mel features.

python benchmarks/spoken_digits.py          writes src/rectifier/claims/tasks/spoken_digits.npz
python benchmarks/spoken_digits.py --check  makes them again and compares them with that file

The words are spoken by eSpeak NG (https://github.com/espeak-ng/espeak-ng), version 1.51, which gives the same samples
each time. The program is under the GNU GPL, version 3 or later, which does not reach what a program puts out (gnu.org,
GPL FAQ, "GPLOutput"); the file holds features in steps of one decibel, neither sound nor any part of the program, and
is under the licence of this project.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt

FILE = Path(__file__).parents[1] / "src/rectifier/claims/tasks/spoken_digits.npz"
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SPEEDS = (130, 165, 200)
"""Words a minute."""
ACCENTS = ("en", "en-us", "en-gb-scotland", "en-gb-x-rp", "en-029", "en-gb-x-gbclan", "en-gb-x-gbcwmd")
#: Voices of each part: whoever learns has heard none of those it is tested on.
VOICES = {
    "train": (
        "m1",
        "f1",
        "m3",
        "f2",
        "klatt",
        "Alex",
        "Andrea",
        "anika",
        "m5",
        "f5",
        "Annie",
        "Mario",
        "ed",
        "linda",
        "belinda",
        "quincy",
    ),
    "validation": ("m2", "f3", "klatt3", "steph", "david"),
    "test": ("m7", "f4", "klatt2", "Alicia", "max", "paul", "zac"),
}
BANDS, FRAMES = 24, 40
WINDOW, HOP = 512, 352
"""Samples: 23 and 16 ms at eSpeak's 22,050 a second, so 40 frames hold 0.65 s."""
RANGE = 60
"""Decibels below the loudest value of an utterance that are kept."""

Floats = npt.NDArray[np.float64]


def speak(word: str, voice: str, speed: int) -> tuple[Floats, int]:
    """Samples in [−1, 1] and their number a second."""
    command = ["espeak-ng", "-v", voice, "-s", str(speed), "--stdout", word]
    sound = subprocess.run(command, capture_output=True, check=True).stdout
    with wave.open(io.BytesIO(sound)) as file:
        # eSpeak writes to a pipe before it knows the length, so what its header says of it is no use.
        samples = np.frombuffer(file.readframes(len(sound) // 2), dtype="<i2")
        return samples / 32768.0, file.getframerate()


def features(samples: Floats, rate: int) -> npt.NDArray[np.uint8]:
    """Log-mel energies in decibels above the floor, (FRAMES, BANDS), from the first frame that is not silent."""
    padded = np.pad(samples, (0, WINDOW))
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP] * np.hanning(WINDOW)
    energy = np.square(np.abs(np.fft.rfft(frames))) @ filters(rate).T
    decibels = 10.0 * np.log10(np.maximum(energy, 1e-12))
    above = np.clip(np.rint(decibels - decibels.max()) + RANGE, 0, RANGE).astype(np.uint8)
    start = int(np.argmax(above.max(axis=1) > RANGE // 3))
    kept = above[start : start + FRAMES]
    return np.pad(kept, ((0, FRAMES - len(kept)), (0, 0)))


def filters(rate: int) -> Floats:
    """Triangles evenly spaced in mel (2595·log₁₀(1 + f/700)) from 80 Hz to 8 kHz, (BANDS, WINDOW // 2 + 1)."""
    mel = np.linspace(*(2595.0 * np.log10(1.0 + np.array([80.0, 8000.0]) / 700.0)), BANDS + 2)
    edges = 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    bins = np.fft.rfftfreq(WINDOW, 1.0 / rate)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return np.maximum(0.0, np.minimum(rising, falling))


def make(parts: dict[str, tuple[str, ...]]) -> dict[str, npt.NDArray[np.uint8]]:
    """ "PART_features" (utterances, FRAMES, BANDS), "PART_words" and "PART_voices" (index among the part's)."""
    found = {}
    everyone = [name for names in VOICES.values() for name in names]
    heard: dict[bytes, str] = {}
    for part, names in parts.items():
        rows, words, voices = [], [], []
        for index, name in enumerate(names):
            voice = f"{ACCENTS[everyone.index(name) % len(ACCENTS)]}+{name}"
            for word, text in enumerate(WORDS):
                for speed in SPEEDS:
                    rows.append(features(*speak(text, voice, speed)))
                    words.append(word)
                    voices.append(index)
            # Some accents take no variant (en-gb), and what eSpeak does not know it leaves out without a word.
            twin = heard.setdefault(np.stack(rows[-30:]).tobytes(), voice)
            if twin != voice:
                sys.exit(f"{voice} sounds as {twin} does.")
        found |= {
            f"{part}_features": np.stack(rows),
            f"{part}_words": np.array(words, dtype=np.uint8),
            f"{part}_voices": np.array(voices, dtype=np.uint8),
        }
    return found


def main() -> None:
    """Write the file, or compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare with the file instead of writing it")
    arguments = parser.parse_args()
    print(subprocess.run(["espeak-ng", "--version"], capture_output=True, text=True, check=True).stdout.strip())
    arrays = make(VOICES)
    if arguments.check:
        with np.load(FILE) as stored:
            same = all(np.array_equal(stored[name], array) for name, array in arrays.items())
        sys.exit(0 if same else f"not what {FILE.name} holds")
    np.savez_compressed(FILE, **arrays)
    print(f"{sum(len(arrays[f'{part}_words']) for part in VOICES)} utterances, {FILE.stat().st_size:,} bytes")
    print(f"Wrote {FILE}")


if __name__ == "__main__":
    main()
