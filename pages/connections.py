"""Who reads whom: LeNet-5's table, random tables, full connection, groups and Inception's branches, with what each costs."""

from inception_viz import connections as library
from inception_viz.figures import connections as drawing
from pages.shell import connections, frame, lab, races

text = frame.open_page("connections")
layer = connections.chosen(text)
frame.show(drawing.tables(connections.wirings(text, layer), text), "connections-tables")
found = connections.compared(text, layer)
frame.show(drawing.costs(found, text), "connections-costs")
connections.table(text, found)
races.run_on(
    text,
    found.found[0].timing,
    text("Inception's 3x3 and 5x5 branches have kernels of their own, whatever kernel is chosen for the others."),
)
lab.outcome(text, library.answered(found), "connections")
