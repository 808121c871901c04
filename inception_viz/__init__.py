"""Look inside Inception networks.

The words of the library, in the order in which data flows; a module imports only from words to its left:

text, errors, images, weights, downloads, models, architecture, activations, moments, correlations, nulls, clusters, attributions,
knockouts, flows, corpus, localisation, cost, sparsity, overfitting, topology, analysis, engine, figures, report, cli
"""
