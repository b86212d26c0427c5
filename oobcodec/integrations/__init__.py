"""Thin adapters to other systems that move objects, one a module; none is imported before somebody asks for it."""
