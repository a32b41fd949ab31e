"""One style, one save, one function per figure."""
