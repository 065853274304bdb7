"""The processes of a lab: a node's components, the API server, built-in images, the stand-in for ipip.

They use only the standard library, and little of it: each pause process is a fork that shares all unchanged memory.
"""
