"""Look inside Inception networks.

The words of the library, in the order in which data flows; a module imports only from words to its left:

text, errors, images, weights, downloads, networks, models, architecture, activations, moments, correlations, nulls, clusters, validation, attributions,
knockouts, flows, features, examples, localisation, corpus, cost, waste, overfitting, sparsity, dense_blocks, connections, coincidence, topology,
construction, trial, analysis, engine, figures, report, cli
"""
