"""What sparse products cost on this machine, and what is won by clustering a sparse matrix into dense blocks."""

from inception_viz import dense_blocks
from inception_viz import sparsity as library
from inception_viz.figures import dense_blocks as blocks_drawing
from inception_viz.figures import sparsity as drawing
from pages.shell import frame, lab, races, sparsity

text = frame.open_page("sparsity")
panel = lab.panel("sparsity", text("What is measured"), {"product": text("Sparse against dense"), "blocks": text("Dense blocks")})

if panel == "product":
    points = sparsity.product(text)
    even = library.break_even(points)
    frame.show(drawing.speedups(points, even, text), "sparsity-product")
    sparsity.told(text, even)
    races.run_on(text, points[0].timing)
    lab.outcome(text, library.answered(points), "sparsity-product")
else:
    found = sparsity.clustering(text)
    shown = sparsity.order(text, found)
    frame.show(blocks_drawing.before_and_after(found, shown.partition, text), "sparsity-blocks")
    sparsity.told_order(text, shown)
    frame.show(blocks_drawing.orders(found, text), "sparsity-orders")
    races.run_on(text, found.csr, text("The order itself costs nothing in a network: the layers before and after take it over."))
    lab.outcome(text, dense_blocks.answered(found), "sparsity-blocks")
