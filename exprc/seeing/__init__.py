"""Seeing: graphs as pictures, and all stages of a compiled function as text and as one page. Takes what the stages made, gives texts to
read; it changes nothing and no stage needs it."""
