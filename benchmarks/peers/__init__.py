"""Other projects' models, made through their public constructors at the sizes of ours.

Each file has `build(description)`, which returns a `peer.Peer`; it is imported only in the worker
process that measures it.
"""
