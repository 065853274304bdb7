"""The processes of a lab: what runs on a node, the API server's part, built-in images, the stand-in for ipip.

Standard library only, and little of it: each pause is a fork of this, and shares what it does not change.
"""
