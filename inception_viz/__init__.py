"""Look inside Inception networks.

The words of the library, in the order in which data flows; a module imports only from words to its left:

text, errors, memory, sealed, glossary, images, weights, downloads, tables, descriptions, models, architecture, grids, activations, moments, tallies,
correlations, nulls, communities, clusters, validation, attributions, knockouts, flows, features, examples, boxes, corpus, labelled, localisation, corloc,
statistics, measurement, races, networks, cost, waste, pruning, overfitting, sparsity, dense_blocks, connections, coincidence, topology, construction, trial,
analysis, comparisons, evidence, lessons, engine, figures, report, cli
"""
