"""The terms of the field in both languages."""

from pages.shell import frame, glossary

text = frame.open_page("glossary")
glossary.table(text)
