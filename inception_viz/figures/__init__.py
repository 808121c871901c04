"""Results -> pictures of them, in the visitor's language; the only home of plotly. Backgrounds are transparent: both themes show through."""
