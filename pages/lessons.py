"""Seven guided steps through Section 3 of the paper: predict, then look."""

from pages.shell import frame, lessons

text = frame.open_page("lessons")
if lessons.boxed(text):
    word = lessons.choose(text)
    lessons.step(text, word)
    lessons.score(text)
