"""Fonts for the names of classes in any script."""

import pytest
from PIL import ImageFont

from tf_advseg.evaluation import fonts

LACKS = "\U000f0000"  # A number that Unicode leaves to private use: no font here draws it.


def ink(font, text):
    return bytes(font.getmask(text))


def test_ascii_is_written_in_pillows_own_font():
    assert fonts.font_for("road", 17).getname() == ImageFont.load_default(17).getname()


@pytest.mark.parametrize("text", ["Straße", "небо", "šuma", "δρόμος"])
def test_letters_that_pillows_own_font_lacks_are_drawn(text):
    font = fonts.font_for(text, 17)
    box = ink(font, LACKS)
    assert font.size == 17
    assert all(ink(font, letter) != box for letter in text)
    default = ImageFont.load_default(17)
    assert any(ink(default, letter) == ink(default, LACKS) for letter in text)


def test_an_installed_font_is_used_where_the_others_lack_a_letter(monkeypatch):
    from matplotlib import font_manager

    serif = font_manager.findfont("DejaVu Serif")
    broken = __file__  # No font at all, as a damaged file is.
    monkeypatch.setattr(font_manager, "findfont", lambda name: broken)
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [serif])
    fonts.font_for.cache_clear()
    assert fonts.font_for("Ümläut ß", 12).getname()[0] == "DejaVu Serif"
    fonts.font_for.cache_clear()


def test_a_letter_that_no_font_has_does_not_stop_a_picture():
    assert ink(fonts.font_for(f"a{LACKS}", 17), LACKS)
