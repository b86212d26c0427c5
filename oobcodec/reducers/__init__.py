"""How the objects of each library are taken apart, and rebuilt: one library a module, imported when first needed.

The names of all ``rebuild_*`` and ``set_*`` functions are part of messages: they are never renamed.
"""
