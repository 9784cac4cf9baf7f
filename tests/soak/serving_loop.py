"""Serves an export in this process until SIGTERM: right requests and damaged ones, in turn.

`python -m tests.soak.serving_loop EXPORT ANSWERS`; ANSWERS is a JSON file with the counts, written
after the first round and at the end.
"""

import io
import json
import random
import signal
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from tests.folders import draw
from tests.soak.mutators import MUTATORS
from tf_advseg import textfile

_SIZES = [(20 + 11 * n, 90 - 7 * n) for n in range(8)]


def main() -> None:
    folder, answers = sys.argv[1:]
    model = tf.saved_model.load(folder)
    rng = random.Random(0)
    images = [draw(np.random.default_rng(n), size, 3)[0] for n, size in enumerate(_SIZES)]
    files = [_encoded(image, kind) for image in images for kind in ("JPEG", "PNG")]
    counts: Counter[str] = Counter()
    ended = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    while not ended:
        for image in images:
            model.signatures["serving_default"](image=tf.constant(image[np.newaxis]))
        for file in files:
            for name in ("encoded", "mask"):
                counts[_ask(model.signatures[name], file)] += 1
            damaged = rng.choice(MUTATORS)(file, rng.choice(files), rng)
            counts[_ask(model.signatures["mask"], damaged)] += 1
        counts["answered"] += len(images)
        _write(answers, counts)


def _encoded(image: np.ndarray, kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind)
    return file.getvalue()


def _ask(signature, file: bytes) -> str:
    """Sends a request of one file twice over, and returns what became of it."""
    try:
        signature(image_bytes=tf.constant([file, file]))
    except tf.errors.InvalidArgumentError:
        return "refused"
    return "answered"


def _write(path: str, counts: Counter) -> None:
    document = {"answered": counts["answered"], "refused": counts["refused"]}
    textfile.write(Path(path), json.dumps(document))


if __name__ == "__main__":
    main()
