"""The terms of the field, each with its meaning; a page shows them in all languages side by side."""

from dataclasses import dataclass

from inception_viz.text import message


@dataclass(frozen=True)
class Term:
    """A term and what it means here, both to be translated."""

    name: str
    meaning: str


TERMS = (
    Term(message("block (Inception module)"), message("A group of branches that read the same input and lay their channels side by side.")),
    Term(message("branch"), message("One of the parallel paths of a block: 1x1, 3x3, 5x5 or pool.")),
    Term(message("channel (filter)"), message("One learned detector; it gives one number at every position of the picture.")),
    Term(message("position"), message("One place of a channel's map; it stands for a patch of the picture.")),
    Term(message("activation"), message("What a channel answers at a position: zero is silence.")),
    Term(message("receptive field"), message("The patch of the picture that can change an activation.")),
    Term(message("parameter (weight)"), message("A number that training sets.")),
    Term(message("multiply-accumulate (MAC)"), message("One multiplication and one addition: the unit of the cost of a network.")),
    Term(message("convolution"), message("The same small window of weights, laid over every position.")),
    Term(message("pooling"), message("The largest or the mean value of a window; it has no parameters.")),
    Term(message("sparse structure"), message("Nearly all zeros: few connections, or few channels that fire.")),
    Term(message("dense structure"), message("Every value is there and is computed, zero or not: what processors are built for.")),
    Term(
        message("correlation (Pearson's r)"),
        message("From -1 to 1: whether two channels rise and fall together. It says nothing of causes."),
    ),
    Term(message("Hebb's rule"), message("“What fires together, wires together”: correlated units are joined.")),
    Term(message("cluster"), message("A group of channels that fire together more than with the others.")),
    Term(message("silhouette"), message("From -1 to 1: how much closer a channel is to its own cluster than to the next.")),
    Term(message("attribution"), message("A share of the prediction given to a channel, a cluster or a place, by a stated method.")),
    Term(message("conductance"), message("How much of the prediction flows through a channel between a plain picture and this one.")),
    Term(message("knock-out (ablation)"), message("Silencing channels to see what the prediction loses.")),
    Term(
        message("class activation map"),
        message("Where on the picture the last block speaks for a class: its maps, weighted as the last layer weights them."),
    ),
    Term(message("bounding box"), message("The smallest upright rectangle round a thing on a picture.")),
    Term(
        message("overlap (intersection over union, IoU)"),
        message("The area that two boxes share, over the area that they cover together: 1 if they are the same, 0 if they are apart."),
    ),
    Term(message("pointing game"), message("How often the highest place of a map lies in the true box.")),
    Term(message("correct localisation (CorLoc)"), message("How often the box that was found overlaps the true one by at least a half.")),
    Term(message("logit"), message("The network's raw score of a class, before it becomes a probability.")),
    Term(
        message("null (what chance gives)"),
        message("What the same measure gives where there is nothing to find; without it no number is evidence."),
    ),
    Term(message("p-value"), message("How often the null alone gives a value at least this large.")),
    Term(message("overfitting"), message("Knowing the training pictures by heart, and new ones worse.")),
    Term(message("topology"), message("Which units are joined to which.")),
)
