"""What goes wrong between two sides: a socket whose system calls fail, and peers that die or are no peers at all."""
