"""What runs in a node: nslab-node, pause, containers, logs, the built-in server, the stand-in for the ipip driver.

Standard library only, and little of it: each pause is a fork of this, and shares what it does not change.
"""
