"""Small networks of growing width, trained live on few labels: how far memory runs ahead of knowledge."""

from inception_viz import overfitting as library
from inception_viz.figures import overfitting as drawing
from pages.shell import frame, lab, overfitting

text = frame.open_page("overfitting")
panels = {"curves": text("Curves of training"), "parameters": text("Against parameters"), "labels": text("Against labels")}
panel = lab.panel("overfitting", text("What is looked at"), panels)
seeds, noise = overfitting.choices(text)

if panel == "curves":
    width, labels = overfitting.size(text)
    found = overfitting.trained(text, [width], [labels], seeds, noise)
    frame.show(drawing.curves(found.runs, text), "overfitting-curves")
    overfitting.told(text, found)
    lab.outcome(text, library.memorised(found), "overfitting-curves")
elif panel == "parameters":
    found = overfitting.trained(text, library.WIDTHS, [overfitting.labels(text)], seeds, noise, ask=True)
    frame.show(drawing.by_parameters(found, text), "overfitting-parameters")
    overfitting.told(text, found)
    lab.outcome(text, library.wider(found), "overfitting-parameters")
else:
    found = overfitting.trained(text, [overfitting.width(text)], library.LABELS, seeds, noise, ask=True)
    frame.show(drawing.by_labels(found, text), "overfitting-labels")
    overfitting.told(text, found)
    lab.outcome(text, library.fewer(found), "overfitting-labels")
