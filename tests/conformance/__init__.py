"""One table of objects that must travel well, and how to tell whether they did.

A line is a case. Each is sent by `oobcodec`, or by one of its peers, and what arrives is compared with what was sent in
type, value, dtype, layout, mutability, alignment, identity and shared memory; and the bytes that travelled with those
that the object holds.
"""
