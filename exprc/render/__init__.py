"""Takes Loops, gives text. The printers decide nothing: what runs where, and where it lies, stands in the Loops already."""
