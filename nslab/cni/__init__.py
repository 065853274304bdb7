"""The runtime's side of the Container Network Interface by its specification (0.1.0 to 1.1.0).

Pure: it parses configurations, builds invocations of plugins and parses their answers; `nslab.linux` runs them.
"""
