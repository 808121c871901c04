"""Results -> pictures of them, in the visitor's language; the only home of plotly. Backgrounds are transparent: both themes show through."""

from plotly.graph_objects import Figure

__all__ = ["Figure"]
