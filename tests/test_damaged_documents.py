"""JSON that somebody damaged: whatever reads it refuses it in one line that fits a screen."""

import pytest

from tf_advseg import config
from tf_advseg.data import catalog, splits
from tf_advseg.errors import InputError
from tf_advseg.evaluation import results

#: name of the file -> what reads it
READERS = {
    "classes.json": catalog.read_classes,
    "config.json": lambda path: config.stored_config(path.parent),
    "split.json": splits.stored,
    "results.json": results.read,
}
CONTENTS = {
    "nested": b"[" * 100_000,
    "nested objects": b'{"a":' * 100_000,
    "cut off and long": b'{"labeled": ["' + b"a" * 100_000,
    "no text": b'{"labeled": ["' + b"a" * 100_000 + b"\xff",
    "a long value": b'{"steps": "' + b"a" * 100_000 + b'"}',
    "a long key": b'{"' + b"a" * 100_000 + b'": 1}',
}


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("name", READERS)
def test_damaged_document_is_refused_in_few_words(name, content, tmp_path):
    path = tmp_path / name
    path.write_bytes(CONTENTS[content])
    with pytest.raises(InputError) as caught:
        READERS[name](path)
    assert str(path) in str(caught.value) or "--steps is" in str(caught.value)
    assert len(str(caught.value)) < 500 + len(str(path))
