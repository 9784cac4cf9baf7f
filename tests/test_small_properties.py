"""Colours, coins, positions, small files and tar archives, for any input."""

import gzip
import io
import tarfile

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tf_advseg import textfile
from tf_advseg.data import VOID_COLOR, VOID_LABEL, catalog, classes
from tf_advseg.data.classes import CITYSCAPES, VOC2012, Classes
from tf_advseg.data.coin import is_labeled_step
from tf_advseg.data.positions import Share, positions
from tf_advseg.data.prepare import tar_stream
from tf_advseg.evaluation import pictures

seeds = st.integers(0, 2**31 - 1)
colors = st.tuples(*[st.integers(0, 255)] * 3)
NAMES = st.text("abcdefgh äß水\"\\'<&", min_size=1, max_size=12)


@st.composite
def class_sets(draw):
    names = draw(st.lists(NAMES, min_size=2, max_size=20, unique=True))
    chosen = draw(st.lists(colors, min_size=len(names), max_size=len(names)))
    void = draw(st.integers(len(names), VOID_LABEL))
    return Classes("any", tuple(names), tuple(chosen), void)


def test_voc_colours_are_of_one_kind_each_and_spell_their_index():
    """Bit n of the index is bit 7 - n // 3 of red, green or blue, n % 3."""
    found = [classes.voc_color(index) for index in range(256)]
    assert len(set(found)) == 256
    for index, color in enumerate(found):
        bits = [color[n % 3] >> (7 - n // 3) & 1 for n in range(8)]
        assert sum(bit << n for n, bit in enumerate(bits)) == index
        assert sum(map(int.bit_count, color)) == index.bit_count()  # And no bit beside those.


@pytest.mark.parametrize("known", [VOC2012, CITYSCAPES], ids=lambda known: known.name)
def test_published_classes_have_colours_of_their_own(known):
    assert len(set(known.colors)) == len(set(known.names)) == len(known)


@given(class_sets())
def test_classes_survive_their_file(tmp_path, given_classes):
    path = tmp_path / "classes.json"
    path.write_text(given_classes.to_json(), "utf-8")
    assert catalog.read_classes(path) == given_classes


@given(class_sets(), seeds)
def test_every_class_has_its_own_colour_in_a_picture(tmp_path, given_classes, seed):
    values = [*range(len(given_classes)), VOID_LABEL]
    class_ids = np.random.default_rng(seed).choice(values, (5, 7))
    picture = pictures.colorize(class_ids, given_classes.colors)
    assert picture.dtype == np.uint8 and picture.shape == (5, 7, 3)
    for class_id, color in enumerate(given_classes.colors):
        assert (picture[class_ids == class_id] == color).all()
    assert (picture[class_ids == VOID_LABEL] == VOID_COLOR).all()
    pictures.save_mask(tmp_path / "mask.png", class_ids, given_classes.colors)
    with Image.open(tmp_path / "mask.png") as mask:
        np.testing.assert_array_equal(np.asarray(mask), class_ids)
        np.testing.assert_array_equal(np.asarray(mask.convert("RGB")), picture)


@given(st.text(st.sampled_from("ab \n\r\täß水\U0001f600\ufeff"), max_size=300))
def test_text_is_written_as_it_is_and_nothing_is_left_beside(tmp_path, text):
    path = tmp_path / "a.txt"
    textfile.write(path, text)
    assert path.read_bytes().decode() == text
    textfile.write(path, "shorter")
    assert path.read_text() == "shorter"
    assert list(tmp_path.glob("[!c]*")) + list(tmp_path.glob(".*")) == [path]


@given(seeds, st.integers(0, 2**40))
def test_coin_falls_alike_for_all_who_ask(seed, step):
    asked = [bool(is_labeled_step(seed, tf.constant(step, tf.int64))) for _ in range(2)]
    assert asked[0] == asked[1]


@tf.function(input_signature=[tf.TensorSpec([], tf.int64)])
def labeled_of_400(seed):
    def coin(step):
        return is_labeled_step(seed, step)

    return tf.map_fn(coin, tf.range(400, dtype=tf.int64), fn_output_signature=tf.bool)


@given(seeds)
def test_coin_is_fair(seed):
    assert 100 < np.sum(labeled_of_400(tf.constant(seed, tf.int64))) < 300  # Ten deviations.


@given(
    st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(0, 5), st.integers(0, 4)
)
def test_shares_part_every_batch(of, pieces, piece, first_step, more):
    batch, steps = of * pieces * piece, first_step + more
    own = batch // of
    shares = [
        list(positions(batch, first_step, steps, Share(index, of, pieces)).as_numpy_iterator())
        for index in range(of)
    ]
    assert [len(share) for share in shares] == [own * more] * of
    for step in range(more):
        part = [place for share in shares for place in share[step * own : (step + 1) * own]]
        start = (first_step + step) * batch
        assert part == list(range(start, start + batch))


@given(st.integers(1, 40), st.integers(1, 6), st.integers(1, 6))
def test_batch_that_cannot_be_parted_is_refused(batch, of, pieces):
    share = Share(0, of, pieces)
    if batch % (of * pieces):
        with pytest.raises(ValueError, match=f"a batch of {batch} "):
            share.piece_size(batch)
    else:
        assert share.piece_size(batch) * of * pieces == batch


#: Sizes at and beside a block and a record, where padding begins.
member_sizes = st.one_of(st.integers(0, 3000), st.sampled_from([0, 511, 512, 513, 10239, 10240]))
member_names = st.one_of(
    st.text("abc/ä-.", min_size=1, max_size=30).filter(lambda name: not name.endswith("/")),
    st.integers(95, 400).map(lambda length: "n" * length),  # Too long for a plain header.
)


@given(
    st.lists(st.tuples(member_names, member_sizes), max_size=5),
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    st.booleans(),
    st.lists(st.booleans(), min_size=5, max_size=5),
)
def test_tar_gives_every_file_whichever_are_passed_over(members, form, packed, wanted):
    contents = [(name, np.random.default_rng(size).bytes(size)) for name, size in members]
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=form) as archive:
        for name, content in contents:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    whole = written.getvalue()
    spent = []
    file = io.BytesIO(gzip.compress(whole) if packed else whole)
    found = []
    for member, take in zip(tar_stream.tar_members(file, spent.append, packed=packed), wanted):
        found.append((member.name, member.size, member.content() if take else None))
        assert member.kind == tar_stream.FILE
    assert found == [
        (name, len(content), content if take else None)
        for (name, content), take in zip(contents, wanted)
    ]
    if len(members) < len(wanted):  # Else it was left before its end mark.
        assert sum(spent) == len(whole)


@given(st.integers(1, 3000), st.data())
def test_tar_that_is_cut_off_never_ends_as_if_it_were_whole(size, data):
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        info = tarfile.TarInfo("a")
        info.size = size
        archive.addfile(info, io.BytesIO(b"x" * size))
    end_mark = 512 + -(-size // 512) * 512
    cut = data.draw(st.integers(0, end_mark - 1))
    with pytest.raises((EOFError, tarfile.TarError)):
        for member in tar_stream.tar_members(
            io.BytesIO(written.getvalue()[:cut]), lambda size: None, packed=False
        ):
            member.content()
