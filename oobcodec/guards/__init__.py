"""Guards: what a name in a message stands for under the policy DATA, one library per file.

A guard takes the place of a rebuild function. It checks every argument, for these may be anything, and then does what
the rebuild function does.
"""
