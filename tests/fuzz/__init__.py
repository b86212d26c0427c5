"""Messages that nobody would send: mutants of real ones, and whether they are refused or are data.

``python -m fuzz.corpus PATH`` writes real messages, ``python -m fuzz.worker`` loads mutants of them, one batch in one
process, and ``python -m fuzz.harness TARGET`` has atheris look for more. They want ``tests`` among the paths.
"""
