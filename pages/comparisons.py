"""Two answers side by side: two pictures, two classes, two networks, or two states of one training."""

from pages.shell import comparisons, controls, frame

text = frame.open_page("comparisons")
kind = controls.choice("compared", text("What is compared"), comparisons.kinds(text))
a, b = comparisons.sides(text, kind)
aspect = controls.one_of("aspect", text("What to look at"), {key: text(key) for key in comparisons.ASPECTS})
first, second = comparisons.blocks(text, a, b)
comparisons.ASPECTS[aspect](text, first, second)
